"""The audio of a set of videos, one track through all clips, in steps that a cursor names.

A cursor names a point in a list of videos. The same cursor and videos always give the same file and the same next
cursor, in any order, later, again, on another server with the same secret. All clips lie one after the other on one
grid of samples; a segment is so many samples of it, whichever clips they come from, and all segments joined are the
whole.

`timeline` says which samples of which clips a segment is made of, `cursor` writes and reads cursors; both are pure.
`decode` turns one clip into chunks of samples in a process of the pool, `clips` keeps these by content, each made once.
Nothing serves this yet.
"""
