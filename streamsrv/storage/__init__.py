"""Bytes on disk: first as they arrive, then for good.

An upload begins as a `spool`: a file that grows while readers follow it, so that work starts on the first bytes.
It ends in one of two ways. Either its last byte was seen: then it is synced, and `storage` takes it over under
a key, by rename, so that nobody ever sees half a file. Or the sender left: then readers are told and the file goes.
`storage` is the port, keys and files; `local` keeps them below one folder of this machine's disk.
What can be made again doesn't last: a `shelf` keeps so many bytes of it, and lets go what was used longest ago.
A `secret` of the server's own is made once and kept. `privacy` says who besides the server may read all that.
`room` refuses new work while the disk has only what accepted work still needs; where it is full all the same, a
`ballast` makes way for what must be recorded so that files can go.
Files that many read are `lent` to them, and closed when the last one is done; `disk` counts and empties folders.
What a killed server left behind, growing uploads and scratch folders, is swept away when the next one starts.
Whatever may wait for the disk runs in a thread; the event loop never does.
"""
