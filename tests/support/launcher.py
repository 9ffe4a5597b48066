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
import time
from asyncio import BaseEventLoop
from typing import Any

import streamsrv.cli  # noqa: F401 - with all that it imports

Order = dict[str, Any]

MOST_LAG_SECONDS = 0.5
_TICK_SECONDS = 0.1
# So begins a line of the log that `server` looks for.
LAGGED = "the event loop stood still:"


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


def watch_loops() -> None:
    """Have each event loop say where it stood still for half a second that this very process used up."""
    run_forever = BaseEventLoop.run_forever

    def tick(loop: BaseEventLoop, due: float, used: float) -> None:
        late, worked = loop.time() - due, time.process_time() - used
        # A machine that is busy with others makes a loop late that did nothing wrong.
        if min(late, worked) > MOST_LAG_SECONDS:
            os.write(2, f"{LAGGED} {late:.2f} s late, {worked:.2f} s of processor time\n".encode())
        loop.call_later(_TICK_SECONDS, tick, loop, loop.time() + _TICK_SECONDS, time.process_time())

    def run_watched(loop: BaseEventLoop) -> None:
        loop.call_soon(tick, loop, loop.time(), time.process_time())
        run_forever(loop)

    BaseEventLoop.run_forever = run_watched  # type: ignore[method-assign, assignment]


def run(order: Order) -> None:
    """Become the program that was asked for."""
    watch_loops()
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
