"""Python reads this when a process begins that has this folder on its path, and so do all of its children.

STREAMSRV_TEST_EXAMPLE_PORT: example.com is on this machine, on that port, whatever port is asked for.
STREAMSRV_TEST_MOVED_PORT: as 8080:10123; who connects to the first of these ports gets to the second one.
STREAMSRV_TEST_HIDDEN: packages, with commas between them, that aren't installed.
"""

# ruff: noqa: PLC0415 - most processes need none of it

import os
import socket
import sys
from importlib.machinery import PathFinder
from typing import Any

# A public address: whoever connects to it finds the port above.
EXAMPLE = "93.184.215.14"


def move_example(port: int) -> None:
    from asyncio.selector_events import BaseSelectorEventLoop

    look_up, connect = socket.getaddrinfo, BaseSelectorEventLoop.sock_connect

    def example_or_look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        return look_up(EXAMPLE if host == "example.com" else host, *arguments, **options)

    async def connect_here(loop: Any, sock: socket.socket, address: Any) -> None:
        await connect(loop, sock, ("127.0.0.1", port) if address[0] == EXAMPLE else address)

    socket.getaddrinfo = example_or_look_up
    BaseSelectorEventLoop.sock_connect = connect_here  # type: ignore[assignment, method-assign]


def move_port(port: int, to: int) -> None:
    connect = socket.socket.connect

    def connect_there(sock: socket.socket, address: Any) -> None:
        connect(sock, (address[0], to, *address[2:]) if address[1:2] == (port,) else address)

    socket.socket.connect = connect_there  # type: ignore[assignment, method-assign]


class Hiding(PathFinder):
    """Finds what Python finds, but for what is hidden."""

    names: tuple[str, ...] = ()

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        return None if fullname.partition(".")[0] in cls.names else super().find_spec(fullname, path, target)


if os.environ.get("STREAMSRV_TEST_EXAMPLE_PORT"):
    move_example(int(os.environ["STREAMSRV_TEST_EXAMPLE_PORT"]))
if os.environ.get("STREAMSRV_TEST_MOVED_PORT"):
    move_port(*map(int, os.environ["STREAMSRV_TEST_MOVED_PORT"].split(":")))
if os.environ.get("STREAMSRV_TEST_HIDDEN"):
    Hiding.names = tuple(os.environ["STREAMSRV_TEST_HIDDEN"].split(","))
    sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
