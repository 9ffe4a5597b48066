"""A self-hosted audio server: upload a song, get it in another format or hear it while it is still being made.

Someone sends a song with an HTML form or curl. The bytes go into a spool that ffmpeg reads while it grows. Out comes a
file, which is the reply once it was checked; or segments that are checked, stored and listed, each on its own, so that
hls.js, Safari, VLC or ffmpeg can play from second 0. A stream's job is a row in SQLite: what was accepted is made,
whatever dies in between. Of a conversion nothing is kept.

The house has four layers and imports only go down: `app` wires, a feature (`convert`, `hls`; `extract` is to come)
does one job, the tools (`web`, `jobs`, `media`, `storage`, `outbound`, `workers`) know no feature and no other tool,
and the base is plain data.
"""

__version__ = "0.1.0"
