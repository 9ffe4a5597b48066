"""Forms, heads of requests and replies as bytes, in any order and shape."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multidict import CIMultiDict

BOUNDARY = "a-boundary-of-these-tests"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def new_id() -> str:
    """A name for a job or a conversion that nobody else gives."""
    return str(uuid.uuid4())


def part(name: str, content: bytes, more: bytes = b"") -> bytes:
    """A part of a form. `more` goes on behind its name, and may be further headers."""
    return b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (
        BOUNDARY.encode(),
        name.encode(),
        more,
        content,
    )


def text_part(name: str, value: str) -> bytes:
    return part(name, value.encode())


def file_part(filename: str | bytes, content: bytes) -> bytes:
    """The file. Its name is written as it is, whatever is in it."""
    name = filename.encode() if isinstance(filename, str) else filename
    return part("file", content, b'; filename="%b"' % name)


def closed(*parts: bytes) -> bytes:
    """A whole form of these parts."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def form_of(file: Path, fields: Mapping[str, str], *, late: bool = False) -> bytes:
    """A form with a file, behind its fields, or where they are `late` before them."""
    texts = [text_part(name, value) for name, value in fields.items()]
    sound = file_part(file.name, file.read_bytes())
    return closed(sound, *texts) if late else closed(*texts, sound)


def posted_form(file: Path, fields: Mapping[str, str]) -> list[tuple[str, tuple[str | None, str | bytes]]]:
    """The same as `requests` takes it, for whom it doesn't matter how it is sent."""
    return [*((name, (None, value)) for name, value in fields.items()), ("file", (file.name, file.read_bytes()))]


def request_head(
    method: str,
    target: str,
    length: int | None,
    *more: str,
    content_type: str | None = FORM_TYPE,
    host: str = "localhost",
    version: str = "1.1",
) -> bytes:
    """Of a request with a body of so many bytes, or with one in chunks (None). `more` are further lines."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    kind = [] if content_type is None else [f"Content-Type: {content_type}"]
    lines = [f"{method} {target} HTTP/{version}", f"Host: {host}", *kind, framing, *more]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(piece: bytes) -> bytes:
    """A piece of a body in chunks; one without a byte would be its end."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Reply:
    """What came before the connection ended. `whole`: so much as the reply's head had promised."""

    status: int
    headers: CIMultiDict[str]
    body: bytes
    whole: bool = True

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> dict[str, Any]:
        """The reply as a problem, of which it has all the signs."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body[:1000]
        assert self.headers["Cache-Control"] == "no-store"
        document: dict[str, Any] = self.document
        assert document["status"] == self.status
        return document

    @property
    def detail(self) -> str:
        return str(self.problem["detail"])

    def saved(self, path: Path) -> Path:
        """The file that came back; a reply that is none tells why."""
        assert (self.status, self.whole) == (200, True), self.body[:1000]
        path.write_bytes(self.body)
        return path


def read_head(head: bytes) -> tuple[int, CIMultiDict[str]]:
    """Status and headers of a reply. Nothing but ASCII is legal there."""
    status, *lines = head.decode("ascii").rstrip().split("\r\n")
    fields = (line.partition(":") for line in lines)
    return int(status.split()[1]), CIMultiDict((name, value.strip()) for name, _, value in fields)
