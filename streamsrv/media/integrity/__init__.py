"""Is all of a file's sound there? What it promises, what its own structure shows, and what is said of it.

declared    how long the file says that it is
damage      what is missing in its middle: by its structure, or by a second look where anything gave reason for one
loss        both judged: refused in words, or put up with where that was asked for
structure   what a file's own structure shows: of `ogg` its pages, of MP4 its `fragments`, of others their `units`, and
            where several were `joined`
forward     a file read from its beginning to its end; `tags` between frames are no sound
"""
