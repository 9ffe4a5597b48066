"""Sound goes in, one checked result comes out: a file, or segments, by one run of ffmpeg.

`options` settles every number of an encoding from what was asked for and what there is. `source` is what is encoded:
a file, a growing file, samples, segments. `files` and `segments` run the encoder, follow it to its end and judge what
came of it: what a caller gets went through the gate (`media.checks`), and what went wrong is told apart once, here: the
input's fault (UnusableFile), a full disk (DiskFull), or ours (InternalError).

This is the floor for what several features share. It knows no feature; who asks, and what becomes of the result, is
theirs.
"""
