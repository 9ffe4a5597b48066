"""A self-hosted audio server: upload a song, hear it while it is still being made.

Someone sends a song with an HTML form or curl. The bytes go into a spool that ffmpeg reads while it
grows; the segments that come out are checked, stored and listed, each on its own, so that hls.js, Safari,
VLC or ffmpeg can play from second 0. A job is a row in SQLite: what was accepted is made, whatever dies
in between.

The house has four layers and imports only go down: `app` wires, a feature (`hls`) does one job, the tools
(`web`, `jobs`, `media`, `storage`) know no feature and no other tool, and the base is plain data.
"""

__version__ = "0.1.0"
