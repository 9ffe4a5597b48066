"""A multipart/form-data body, taken apart as it arrives: bytes in, the file's bytes out. No I/O.

streaming-form-data reads the form: its delimiters and the parts' headers. What is in the parts goes past it: it needs
15 s for a GiB of line ends, while a search for the delimiter needs 0.1 s for a GiB of anything, and it fails for some
texts, such as "-".
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from aiohttp.helpers import parse_mimetype
from streaming_form_data import StreamingFormDataParser
from streaming_form_data.parser import UnexpectedPartException
from streaming_form_data.targets import BaseTarget

from streamsrv.errors import BadForm, Problem, TooLarge
from streamsrv.text import shown
from streamsrv.web.names import did_you_mean

FILE_FIELD = "file"
# The email package, which reads headers, needs 0.15 s for the worst 8 KiB; the longest honest name has 800 bytes.
MAX_HEAD_BYTES = 4096

# What RFC 2046 section 5.1.1 allows, and what else can be a token (RFC 9110 section 5.6.2), as clients send it. Quotes
# and backslashes are not among its characters, so it can be quoted as it is.
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=?!#$%&*^`|~ -]{0,199}[0-9A-Za-z'()+_,./:=?!#$%&*^`|~-]")
# Forms send these by themselves: the charset of their text (HTML section 4.10.21.7), which is UTF-8 or doesn't matter
# here, and what PHP is told of the file's size. A form may have them, and they mean nothing.
_MEANINGLESS = ("_charset_", "MAX_FILE_SIZE")
# What a client may say before the first boundary, for readers that know no forms.
_MAX_PREAMBLE_BYTES = 8192
_NAME_CHARS = 80
_FILENAME_CHARS = 255
_NAMING = b"content-disposition:"


@dataclass(frozen=True, slots=True)
class FilePart:
    """What the form says of its file. `filename` is the last component of the sent name, "" when there is none."""

    filename: str
    content_type: str


class _Place(Enum):
    """Where in the body the next byte is."""

    START = auto()
    DELIMITER = auto()
    HEAD = auto()
    BODY = auto()
    CLOSED = auto()


class _Part(BaseTarget):  # type: ignore[misc]  # the library ships no types
    """A part as the library reports it; its value is bounded."""

    def __init__(self, name: str, max_bytes: int, started: Callable[["_Part"], None]) -> None:
        super().__init__()
        self.name = name
        self.value = bytearray()
        self._max_bytes = max_bytes
        self._report_start = started

    def on_start(self) -> None:
        self._report_start(self)

    def on_data_received(self, chunk: bytes) -> None:
        """The library sees heads alone, and has nothing to report."""

    def add(self, piece: bytes) -> None:
        """Take a piece of its text. Raises TooLarge."""
        self.value += piece
        if len(self.value) > self._max_bytes:
            raise TooLarge(f"The field '{self.name}' is longer than {self._max_bytes} bytes.")


class FormWalk:
    """One walk through a form with these text fields and one file. All that is wrong is a BadForm or TooLarge.

    `fields` are the text fields that are complete by now, without the empty ones. `file` is known before its first
    byte comes out. The form is complete when it is `closed`, and not before.
    """

    def __init__(self, content_type: str, fields: Collection[str], *, max_parts: int, max_field_bytes: int) -> None:
        boundary = _read_boundary(content_type)
        self.fields: dict[str, str] = {}
        self.file: FilePart | None = None
        self._delimiter = b"\r\n--" + boundary
        self._names = (*fields, FILE_FIELD)
        self._max_parts = max_parts
        self._parts: list[_Part] = []
        self._heads = 0
        self._place = _Place.START
        # So that the first delimiter looks like all others, whether something comes before it or not.
        self._rest = b"\r\n"
        self._skipped = 0
        quoted = boundary.decode("ascii")
        self._parser = StreamingFormDataParser(
            {"Content-Type": f'multipart/form-data; boundary="{quoted}"'}, strict=True
        )
        for name in (*self._names, *_MEANINGLESS):
            self._parser.register(name, _Part(name, max_field_bytes, self._start))

    @property
    def closed(self) -> bool:
        return self._place is _Place.CLOSED

    def end(self) -> None:
        """The body is over. Raises BadForm where the form isn't."""
        if self._place is _Place.START:
            raise BadForm("The boundary that the Content-Type header names isn't in the body.")
        if not self.closed:
            raise BadForm("The form ends before its closing boundary: the upload is incomplete.")

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body, and give what of them belongs to the file. Exhaust it before the next call.

        Where nothing has to be cut off, what comes out is what came in and no copy.
        """
        self._rest = self._rest + data if self._rest else data
        moved = True
        while moved and self._rest:
            if self._place is not _Place.BODY:
                moved = self._step()
                continue
            body = self._take_body()
            moved = self._place is not _Place.BODY
            if body and self._parts[-1].name == FILE_FIELD:
                yield body
            elif body:
                self._parts[-1].add(body)

    def _step(self) -> bool:
        """Read what the rest begins with; False where more bytes are needed for that."""
        if self._place is _Place.START:
            return self._read_start()
        if self._place is _Place.DELIMITER:
            return self._read_delimiter()
        if self._place is _Place.HEAD:
            return self._read_head()
        self._rest = b""  # what follows the closing delimiter means nothing
        return False

    def _read_start(self) -> bool:
        # Lines before the first boundary are to be ignored (RFC 2046 section 5.1.1).
        preamble = self._take_body()
        self._skipped += len(preamble)
        if self._skipped > _MAX_PREAMBLE_BYTES:
            raise BadForm("The body does not begin with the boundary that the Content-Type header names.")
        return self._place is not _Place.START

    def _enter_delimiter(self) -> bool:
        """The rest begins with a delimiter; the two bytes behind it say of which kind it is."""
        if len(self._rest) < len(self._delimiter) + 2:
            return False
        self._place = _Place.DELIMITER
        return True

    def _read_delimiter(self) -> bool:
        size = len(self._delimiter)
        if self._rest.startswith(b"\r\n", size):
            self._rest = self._rest[size:]
            self._place = _Place.HEAD
        elif self._rest.startswith(b"--", size):
            if self._parts:
                self._parse(self._delimiter + b"--")
                self._keep_last()
            self._place = _Place.CLOSED
        else:
            raise BadForm("A line within a part begins with the form's boundary.")
        return True

    def _read_head(self) -> bool:
        # The line end of the delimiter is still there, so that a head without headers ends like all others.
        end = self._rest.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if end < 0:
            if len(self._rest) >= MAX_HEAD_BYTES:
                raise BadForm(f"The headers of a part are longer than {MAX_HEAD_BYTES} bytes.")
            return False
        self._heads += 1
        if self._heads > self._max_parts:
            raise BadForm(f"The form has more than {self._max_parts} parts.")
        # The parser knows whose type a Content-Type is only after the name.
        head = _as_text(self._rest[2:end])
        lines = sorted(head.split(b"\r\n"), key=lambda line: not line.lower().startswith(_NAMING))
        self._parse(b"\r\n".join([self._delimiter, *lines, b"", b""]))
        if len(self._parts) < self._heads:
            raise BadForm("A part of the form has no name.")
        part = self._parts[-1]
        if part.name == FILE_FIELD:
            self.file = FilePart(_last_component(part.multipart_filename), part.multipart_content_type or "")
        self._rest = self._rest[end + 4 :]
        self._place = _Place.BODY
        return True

    def _take_body(self) -> bytes:
        """Take from the rest what surely belongs to the part, up to the next delimiter if that has come."""
        at = self._rest.find(self._delimiter)
        if at < 0:
            at = len(self._rest) - self._begun_delimiter()
        body, self._rest = self._rest[:at], self._rest[at:]
        if self._rest.startswith(self._delimiter):
            self._enter_delimiter()
        return body

    def _begun_delimiter(self) -> int:
        """How many bytes at the end of the rest may be the beginning of a delimiter. No boundary contains a CR."""
        at = self._rest.rfind(b"\r", max(0, len(self._rest) - len(self._delimiter) + 1))
        return len(self._rest) - at if at >= 0 and self._delimiter.startswith(self._rest[at:]) else 0

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.data_received(data)
        except Problem:
            raise
        except UnexpectedPartException as error:
            name, names = error.part_name, ", ".join(self._names)
            meant = did_you_mean(name, self._names)
            raise BadForm(f"There is no field {name[:_NAME_CHARS]!a}.{meant} The fields are: {names}.") from error
        except Exception as error:  # the library lets pass whatever the email package raises on bad headers
            raise BadForm("The headers of a part can't be read.") from error

    def _start(self, part: _Part) -> None:
        """Called by the parser for each name it reads."""
        if part in self._parts and part.name not in _MEANINGLESS:
            what = "more than one file" if part.name == FILE_FIELD else f"the field '{part.name}' more than once"
            raise BadForm(f"The form has {what}.")
        if len(self._parts) == self._heads:
            raise BadForm("A part of the form has two names.")
        self._keep_last()
        self._parts.append(part)

    def _keep_last(self) -> None:
        """The parser has seen the delimiter behind the last part: if that is a text field, its value is complete."""
        if self._parts and self._parts[-1].name not in (FILE_FIELD, *_MEANINGLESS):
            part = self._parts[-1]
            try:
                text = part.value.decode("utf-8")
            except UnicodeDecodeError as error:
                raise BadForm(f"The field '{part.name}' is not UTF-8 text.") from error
            if text:
                self.fields[part.name] = text


def _as_text(head: bytes) -> bytes:
    """A part's headers as UTF-8. Names of files come in whatever bytes a client's machine has for them."""
    return head.decode(errors="replace").encode()


def _read_boundary(content_type: str) -> bytes:
    boundary = parse_mimetype(content_type).parameters.get("boundary", "").encode(errors="replace")
    if not boundary:
        raise BadForm("The Content-Type header names no boundary.")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadForm("The boundary that the Content-Type header names is not a possible one.")
    return boundary


def _last_component(name: str | None) -> str:
    """What of the name can be shown, without folders of either kind of system; "" for what is no name."""
    # Browsers write a quote so (HTML section 4.10.21.8).
    last = re.split(r"[/\\]", (name or "").replace("%22", '"'))[-1]
    text = shown(last).strip()
    return "" if text in {".", ".."} else text[:_FILENAME_CHARS]
