"""A song becomes its stems: vocals, drums, bass and what is left, by Demucs, each of them playable while it is made.

A song is decoded twice: once for the mean and the deviation of all of it, then window by window. Each window goes to
the process of a device, what comes back is overlapped and added, and each stretch that is complete leaves through
encoders at once, as FLAC segments and as MP3. So memory doesn't grow with the length, and the stems are the same as
those of Demucs itself. After a crash the song goes on behind the last segment that was published.

`intake` takes a song in, `work` does the job, `separation` runs the windows, `overlap` adds them up, `model` is what
the child knows of Demucs, `encoders` and `publisher` bring the stems out, `callbacks` tells who asked, `schema` has
the requests and replies, `api` the routes.
"""
