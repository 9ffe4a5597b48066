"""Sound as files and processes: what comes in, what goes out, and the ffmpeg that turns one into the other.

`formats` is the one table of containers and codecs. `probe` asks ffprobe what a file holds, `declared` reads what the
file itself promises, `arguments` turns options into an argv, `ffmpeg` runs it as a supervised child (in a `sandbox`
where the host allows one). `mpegts` and `fmp4` count what a finished segment really holds, `checks` decides whether
the result is whole, `playlist` writes it down for players.
"""
