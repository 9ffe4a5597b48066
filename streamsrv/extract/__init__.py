"""The audio of a set of videos, one track through all clips, whole or in steps that a cursor names.

A cursor names a point in a list of videos. The same cursor and videos always give the same file and the same next
cursor, in any order, later, again, on another server with the same secret. All clips lie one after the other on one
grid of samples; a segment is so many samples of it, whichever clips they come from, and all segments joined are the
whole. The whole is a job, and goes through one encoder.

`sources` says which addresses may be read and makes files of them, with `copies` of what lies elsewhere. `opening`
looks into every clip and makes a `reel` of them; `clips` has each decoded once, by `decode` in a process of the pool,
into chunks of samples kept by content. `steps` cuts segments, `work` makes the whole, by `encoding`, and `archive`
keeps what was made. `studio` is all that every extraction works with. `contents` looks into each file once, `shared`
lets many wait for work that is done once, `browsing` lists what lies below the roots. `cursor`, `timeline`, `identity`,
`tracks` and `progress` are pure; `schema` has requests and replies, `api` the routes.
"""
