"""Trouble that is made on purpose, and where it can be seen what came of it.

`traps` kill a server at a named call (`failpoints`), `disk` is full, `starts` fail, and `watched` models note the
windows that they are given.
"""
