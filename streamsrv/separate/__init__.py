"""A song becomes its stems: vocals, drums, bass and what is left, by Demucs, each of them playable while it is made.

A song is decoded twice: once for the mean and the deviation of all of it, then window by window. Each window goes to
the process of a device, what comes back is overlapped and added, and each stretch that is complete leaves through
encoders at once, as FLAC segments and as MP3. So memory doesn't grow with the length, and the stems are the same as
those of Demucs itself. After a crash the song goes on behind the last segment that was published.

`intake` takes a song in, `songs` finds the job that answers for one, `work` does it: `listening` decodes (`measure` in
a child, `tape` here), `separation` runs the windows, `overlap` adds them up, `making` brings the tracks out by
`output`, `encoders` and `publisher`. `model`, `weights` and `kernels` are what a device's process knows of Demucs,
`settings` what crosses to it, `catalog` which models there are. Who names none gets the one of `default_model`, which
has the best one fetched and, by the rules of `choice`, takes the one in `built_in` until that is here. `playlists` and
`downloads` are what is served, `tracks` what tracks are, `callbacks` what is told; `schema` has requests and replies,
`api` and `serving` the routes.
"""
