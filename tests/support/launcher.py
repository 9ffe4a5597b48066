"""Forks servers from one process that has imported what they need: most of the time that a start takes.

It is a program of its own, `python launcher.py DESCRIPTOR`, at the other end of a socket of `support.server`. A line
that comes asks for a server, and is answered with its process id; its end is told, too. The child runs the very program
that `python -m MODULE` or `python FILE` would run, with the arguments and variables that it was given.
"""

import json
import os
import runpy
import selectors
import signal
import socket
import sys
from typing import Any

import streamsrv.cli  # noqa: F401 - with all that it imports

Order = dict[str, Any]


def await_order(asker: socket.socket) -> Order | None:
    """Fork a child for each order; give the order in the child, and None in the parent once nobody asks any more."""
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    lines = asker.makefile("rb")
    with woken, waker, asker, lines, selectors.DefaultSelector() as selector:
        selector.register(asker, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                woken.recv(4096)
                tell_ended(asker)
            if asker in ready:
                if not (line := lines.readline()):
                    return None
                if pid := os.fork():
                    tell(asker, started=pid)
                else:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    return json.loads(line)


def tell_ended(asker: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:  # there is none at all
            return
        if not pid:
            return
        tell(asker, ended=pid, status=os.waitstatus_to_exitcode(status))


def tell(asker: socket.socket, **words: int) -> None:
    asker.sendall(json.dumps(words).encode() + b"\n")


def run(order: Order) -> None:
    """Become the program that was asked for."""
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    for descriptor, name in ((1, "output"), (2, "errors")):
        with open(order[name], "ab") as file:  # noqa: PTH123 - as little as can be is done here
            os.dup2(file.fileno(), descriptor)
    program, *arguments = order["argv"]
    if program == "-m":
        module, *arguments = arguments
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [program, *arguments]
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    if (order := await_order(socket.socket(fileno=int(sys.argv[1])))) is not None:
        run(order)
