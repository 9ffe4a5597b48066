"""Clients that no library would be: requests byte by byte, sent as slowly as a test likes.

`messages` are the bytes, `upload` sends them on a socket, and `link` in an event loop that the server shares. Both of
them stop, go on, leave, and read the reply when they are told. `stream` and `conversion` are uploads to one route.
"""
