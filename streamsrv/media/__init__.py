"""Sound as files and processes: what comes in, what goes out, and the ffmpeg that turns one into the other.

`formats` is the one table of codecs and files that can be made, `inputs` says what may be read. `sniff` tells a
container by its first bytes, `raw` by its name where they say nothing, `probe` and `film` ask ffprobe what a file
holds; `chunks` are what many files are made of, and `sizes` says which of theirs can be true. `wav` mends what ffmpeg
would misread, `clock` says where silence belongs into what a decoder gives. `material` is all that for one file, whole
or growing.
`arguments` turns an encoding and a `cut` into an argv, and `ffprobe` does a question; `ffmpeg` runs one as a supervised
`child` with its `feed` (`decoder` gives its samples, `blocking` runs it in processes that may wait), in a `sandbox`
where the host allows one and with the `memory` that its file may need; `tools` are the programs of this machine.
`mpegts` and `fmp4` count what a finished segment really holds, `checks` decides whether the result is whole, `playlist`
writes it down for players.
Whether all of a file's sound is there is found in `integrity`.
"""
