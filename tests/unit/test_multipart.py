"""The walk through a multipart body."""

import os
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamsrv.errors import BadForm, TooLarge
from streamsrv.web.multipart import FilePart, FormWalk

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
FIELDS = ("codec", "bitrate", "priority")

# Bytes that come close to what delimits parts.
NEARLY = st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"--", b"\r\n--", f"\r\n--{BOUNDARY[:-1]}".encode()])
CONTENT = (
    st.lists(NEARLY | st.binary(max_size=40), max_size=30)
    .map(b"".join)
    .filter(lambda content: f"--{BOUNDARY}".encode() not in content)
)
TEXTS = st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=30), max_size=3)


def part(name: str, content: bytes, extra: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def walk(body: bytes, cuts: Sequence[int] = (), **limits: int) -> tuple[FormWalk, bytes]:
    walk = FormWalk(
        f"multipart/form-data; boundary={BOUNDARY}", FIELDS, **{"max_parts": 10, "max_field_bytes": 100, **limits}
    )
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [piece for a, b in pairwise(edges) for piece in walk.feed(body[a:b])]
    return walk, b"".join(pieces)


@example(content=b"", texts={"codec": "-"}, place=0, cuts=[])
@given(content=CONTENT, texts=TEXTS, place=st.integers(0, 3), cuts=st.lists(st.integers(0, 5000), max_size=40))
def test_any_chunking_and_any_order_give_the_same_form(
    content: bytes, texts: dict[str, str], place: int, cuts: list[int]
) -> None:
    """However the body is cut and wherever the file stands among the fields, the form is the same."""
    parts = [part(name, text.encode()) for name, text in texts.items()]
    parts.insert(place, part("file", content, '; filename="a.mp3"\r\nContent-Type: audio/mpeg'))
    seen, file = walk(form(*parts), cuts)
    assert seen.closed
    assert file == content
    assert seen.file == FilePart("a.mp3", "audio/mpeg")
    assert seen.fields == {name: text for name, text in texts.items() if text}


@given(cut=st.integers(min_value=0))
def test_a_body_cut_anywhere_is_not_closed(cut: int) -> None:
    """As long as one byte of the closing delimiter is missing, the form isn't closed."""
    body = form(part("codec", b"aac"), part("file", b"sound"))[: -len("\r\n")]
    seen, file = walk(body[: cut % len(body)])
    assert not seen.closed
    assert b"sound".startswith(file)


def test_one_byte_at_a_time() -> None:
    """Chunks may be as small as they can be."""
    body = form(part("bitrate", b"96k"), part("file", b"\r\n--" * 50))
    seen, file = walk(body, range(len(body)))
    assert seen.closed
    assert file == b"\r\n--" * 50
    assert seen.fields == {"bitrate": "96k"}


def test_fields_before_the_file_are_known_at_its_first_byte() -> None:
    """A field before the file is complete when the file's first byte comes out; one behind it isn't there yet."""
    body = form(part("codec", b"opus"), part("file", b"sound"), part("bitrate", b"96k"))
    seen = FormWalk(f"multipart/form-data; boundary={BOUNDARY}", FIELDS, max_parts=10, max_field_bytes=100)
    pieces = seen.feed(body)
    assert next(pieces) == b"sound"
    assert seen.fields == {"codec": "opus"}
    assert list(pieces) == []
    assert seen.fields == {"codec": "opus", "bitrate": "96k"}


def test_bytes_of_the_file_are_not_copied() -> None:
    """A chunk from the middle of the file comes out as the same object."""
    seen, _ = walk(part("file", b"begin")[:-2])
    chunk = os.urandom(1000) + b"."
    assert next(seen.feed(chunk)) is chunk


@pytest.mark.parametrize("dense", [b"\r\n", b"\r\n--", f"\r\n--{BOUNDARY[:-1]}".encode(), b"\r"])
def test_line_ends_cost_no_more_than_other_bytes(dense: bytes) -> None:
    """16 MiB of what resembles a delimiter take no more than a few hundredths of a second."""
    chunk = (dense * (1 << 20))[: 1 << 20]
    seen, _ = walk(part("file", b"begin")[:-2])
    began = time.thread_time()
    size = sum(len(piece) for _ in range(16) for piece in seen.feed(chunk))
    assert time.thread_time() - began < 0.15
    assert size > (16 << 20) - 100


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("song.mp3", "song.mp3"),
        ("Björk – Jóga 😀.flac", "Björk – Jóga 😀.flac"),
        ("../../etc/passwd", "passwd"),
        ("C:\\\\Music\\\\song.mp3", "song.mp3"),
        ("a\x00b\x1b\x7fc.mp3", "abc.mp3"),
        ("song\u202e3pm.exe", "song3pm.exe"),
        ("a\u2066b\u200fc\x85d.mp3", "abcd.mp3"),
        ("..", ""),
        ("music/", ""),
        ("", ""),
        ("x" * 400 + ".mp3", "x" * 255),
    ],
)
def test_the_name_of_the_file_is_its_last_component(sent: str, kept: str) -> None:
    """Folders, control characters and turns of direction in a file's name are left out."""
    seen, _ = walk(form(part("file", b"x", f'; filename="{sent}"')))
    assert seen.file == FilePart(kept, "")


def test_a_file_without_a_name_is_a_file() -> None:
    """The field's name makes the file, not the presence of a file name."""
    seen, file = walk(form(part("file", b"sound")))
    assert (seen.file, file) == (FilePart("", ""), b"sound")


def test_an_empty_form_is_closed() -> None:
    """A form without parts is a form; a line end before it, and whatever follows it, mean nothing."""
    for body in (form(), b"\r\n" + form(), form() + b"epilogue"):
        seen, file = walk(body)
        assert (seen.closed, seen.file, seen.fields, file) == (True, None, {}, b"")


HEAD = f"--{BOUNDARY}\r\n".encode()
BAD = {
    "another boundary": b"--other\r\n",
    "no boundary": b"RIFF",
    "a boundary within a line": b"preamble" + form(),
    "much before the form": b"x" * 8193 + b"\r\n" + form(),
    "an unknown field": form(part("colour", b"red")),
    "two files": form(part("file", b"a"), part("file", b"b")),
    "a field twice": form(part("codec", b"aac"), part("codec", b"")),
    "too many parts": form(*[part("codec", b"aac")] * 11),
    "a part without headers": HEAD + b"\r\nx\r\n" + form(),
    "a part without a name": HEAD + b"Content-Disposition: form-data\r\n\r\nx\r\n" + form(),
    "a part with two names": form(part("codec", b"x", '\r\nContent-Disposition: form-data; name="bitrate"')),
    "not form-data": HEAD + b'Content-Disposition: attachment; name="file"\r\n\r\n',
    "an empty disposition": HEAD + b"Content-Disposition:\r\n\r\n",
    "a name that isn't text": HEAD + b'Content-Disposition: form-data; name="\xff"\r\n\r\n',
    "bare line feeds": HEAD + b'Content-Disposition: form-data; name="file"\n\n' + b"x" * 4096,
    "endless headers": HEAD + b"X: " + b"x" * 5000,
    "nested comments": HEAD + b"Content-Disposition: " + b"(" * 4000 + b"\r\n\r\n",
    "a boundary with more behind it": form(part("file", f"\r\n--{BOUNDARY}x".encode())),
    "a field that isn't UTF-8": form(part("codec", b"\xff")),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_bad_bodies(body: bytes) -> None:
    """What isn't a form with these fields is a BadForm, cut anyhow."""
    for cuts in ((), range(len(body))):
        with pytest.raises(BadForm):
            walk(body, cuts)[0].end()


def test_an_unknown_field_is_answered_with_those_that_exist() -> None:
    """The words name the field, shortened, and all fields there are."""
    with pytest.raises(BadForm, match=r"'x{80}'.* codec, bitrate, priority, file\.$"):
        walk(form(part("x" * 500, b"")))


def test_text_fields_are_bounded() -> None:
    """A text field has at most max_field_bytes bytes."""
    walk(form(part("codec", b"x" * 2000)), max_field_bytes=2000)
    with pytest.raises(TooLarge):
        walk(form(part("codec", b"x" * 2001)), max_field_bytes=2000)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "x" * 201,
        'multipart/form-data; boundary="a\\"b"',
        'multipart/form-data; boundary="bo<u>ndary"',
        "multipart/form-data; boundary=grüße",
        "multipart/form-data; " + "(" * 8000,
    ],
)
def test_impossible_boundaries(content_type: str) -> None:
    """A missing boundary, an endless one, or one with characters that no token has, is a BadForm."""
    with pytest.raises(BadForm):
        FormWalk(content_type, FIELDS, max_parts=10, max_field_bytes=100)


@pytest.mark.parametrize("boundary", ["*****", "'x'", "a'b*c", "x!#$%&^`|~.+y", "=x=", "x" * 70])
def test_any_token_can_be_a_boundary(boundary: str) -> None:
    """Clients write boundaries with or without quotes, and of any characters that a token has."""
    body = form(part("codec", b"aac"), part("file", b"sound")).replace(BOUNDARY.encode(), boundary.encode())
    for written in (boundary, f'"{boundary}"'):
        seen = FormWalk(f"multipart/form-data; boundary={written}", FIELDS, max_parts=10, max_field_bytes=100)
        assert b"".join(seen.feed(body)) == b"sound"
        assert (seen.closed, seen.fields) == (True, {"codec": "aac"})


@given(st.lists(st.integers(0, 5000), max_size=40))
def test_lines_before_the_form_mean_nothing(cuts: list[int]) -> None:
    """A client may say something to readers that know no forms (RFC 2046 section 5.1.1)."""
    seen, file = walk(b"This is a form.\r\n--not yet\r\n\r\n" + form(part("file", b"sound")), cuts)
    assert (seen.closed, file) == (True, b"sound")


def test_fields_that_forms_send_by_themselves_mean_nothing() -> None:
    """The charset of a form's texts and the file's size, also given twice, are neither refused nor kept."""
    own = (part("_charset_", b"windows-1252"), part("MAX_FILE_SIZE", b"1000"), part("MAX_FILE_SIZE", b"\xff"))
    seen, file = walk(form(*own, part("codec", b"aac"), part("file", b"sound")))
    assert (seen.fields, file) == ({"codec": "aac"}, b"sound")


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("Müller.wav".encode("latin-1"), "M\ufffdller.wav"),
        ("曲.wav".encode("shift-jis"), "\ufffd\ufffd.wav"),
        ("音乐.mp3".encode("gbk"), "\ufffd\ufffd\ufffd\ufffd.mp3"),
        (b"%22quoted%22.wav", '"quoted".wav'),
        ("曲.wav".encode(), "曲.wav"),
    ],
)
def test_names_of_files_come_in_any_bytes(sent: bytes, name: str) -> None:
    """A name is only a name: what isn't UTF-8 is replaced, and quotes are as browsers write them."""
    head = HEAD + b'Content-Disposition: form-data; name="file"; filename="' + sent + b'"\r\n\r\n'
    seen, file = walk(head + b"sound\r\n" + form())
    assert seen.file is not None
    assert (seen.file.filename, file) == (name, b"sound")


def test_a_slip_of_a_finger_is_answered_with_what_was_meant() -> None:
    """Where an unknown name looks like one that there is, that is asked about; else it isn't."""
    with pytest.raises(BadForm, match=r"'bit-rate'\. Did you mean 'bitrate'\? The fields are"):
        walk(form(part("bit-rate", b"1")))
    with pytest.raises(BadForm, match=r"'volume'\. The fields are"):
        walk(form(part("volume", b"1")))


def test_headers_of_a_part_come_in_any_order() -> None:
    """The type of the file may stand before its name."""
    body = HEAD + b'Content-Type: audio/flac\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n' + form()
    assert walk(body)[0].file == FilePart("", "audio/flac")
