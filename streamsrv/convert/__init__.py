"""Send a file, get the same sound in another format. Nothing is kept.

The upload goes into a spool. When the format is known before the file and its container can be decoded from a pipe,
one ffmpeg reads the spool while it grows, so that encoding costs no time after the upload; else it reads the whole.
Either way the result is a file, since most formats state their length at their start and can't be written to a pipe.
The reply begins when the upload has ended and that file was checked: whatever goes wrong is said in a status, and what
comes with 200 is all of the sound. Then spool and file go, as they do when the client leaves at any time before.

`schema` reads what was asked for into `options`, `work` runs ffmpeg and checks what it made, `upload` takes one request
from its first byte to its file, `api` has the routes.
"""
