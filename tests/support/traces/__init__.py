"""What a server leaves behind: `files` on the disk, `rows` in its database, `processes`, and events in its `log`.

All is looked at from outside, so that it can be asked of a server that is dead.
"""
