"""A web server in threads of its own, for tests that wait for one outside of any event loop."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from multidict import CIMultiDict


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: CIMultiDict[str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, answer: Callable[[Asked], Answer | None]) -> None:
        self.answer = answer
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.answer(Asked(self.command, self.path, CIMultiDict(self.headers.items()), body))
        if answer is None:
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NO_CONTENT:  # RFC 9110 section 8.6
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = _reply  # noqa: N815 - by these names it is called

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def answering(answer: Callable[[Asked], Answer | None], *, port: int = 0) -> Iterator[str]:
    """Serve on this machine, and give the address. Who gets None gets no answer: the connection is closed."""
    server = _Server(port, answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
