"""Upload a song, hear it while it is still being made.

An upload becomes a job, the job runs one ffmpeg, and ffmpeg cuts segments. Each segment is read through, stored and
then listed in one database commit, which is its publication: `live.m3u8` grows by it, and what was listed once never
changes. When the options are known before the file and its container can be decoded from a pipe, all this happens while
the upload still arrives. The job is Completed when everything that the file promises was decoded, encoded and stored.

`intake` takes an upload in, `work` does the job, `publisher` stores what ffmpeg finishes, `playlists` lists it,
`profiles` holds the quality profiles, `schema` has the requests and replies,
`api` the routes.
"""
