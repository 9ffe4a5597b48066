"""Telling a container from its first bytes."""

import pytest

from streamsrv.media.sniff import id3_length, sniff


def box(kind: bytes, size: int, body: bytes = b"") -> bytes:
    return size.to_bytes(4) + kind + body


HEADS = {
    "flac": (b"fLaC\0\0\0\x22", ("flac", True)),
    "ogg": (b"OggS\0\x02", ("ogg", True)),
    "matroska": (b"\x1aE\xdf\xa3\x01", ("matroska", True)),
    "wav": (b"RIFF\x24\0\0\0WAVEfmt ", ("wav", True)),
    "rf64": (b"RF64\xff\xff\xff\xffWAVEds64", ("wav", True)),
    "mp3 frame": (b"\xff\xfb\x90\x64" + bytes(8), ("mp3", True)),
    "mp3 behind a tag": (b"ID3\x04\0\0\0\0\0\x02ab\xff\xfb\x90\x64", ("mp3", True)),
    "mp3 behind a tag longer than the head": (b"ID3\x04\0\0\x00\x7f\x7f\x7f" + bytes(100), ("mp3", True)),
    "adts": (b"\xff\xf1\x50\x80\x1f\xfc", ("adts", True)),
    "mp4, index first": (box(b"ftyp", 16, bytes(8)) + box(b"free", 8) + box(b"moov", 999), ("mp4", True)),
    "mp4, index last": (box(b"ftyp", 16, bytes(8)) + box(b"mdat", 999), ("mp4", False)),
    "mp4, 64-bit box": (box(b"ftyp", 16, bytes(8)) + box(b"mdat", 1, (99).to_bytes(8)), ("mp4", False)),
    "mp4, broken box": (box(b"ftyp", 16, bytes(8)) + box(b"junk", 3), ("mp4", False)),
}


@pytest.mark.parametrize(("head", "expected"), HEADS.values(), ids=HEADS)
def test_known_containers(head: bytes, expected: tuple[str, bool]) -> None:
    """A container is named by its magic, and is pipeable only if its index isn't at the end."""
    container = sniff(head)
    assert container is not None
    assert (container.name, container.pipeable) == expected


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"hello, world",
        b"#EXTM3U\n",
        b"ffconcat version 1.0\n",
        b"<html>",
        b"PK\x03\x04",
        b"\xff\xff\xff\xff",
    ],
)
def test_unknown_files(head: bytes) -> None:
    """What isn't known for sure isn't guessed: such a file waits for its end and for ffprobe."""
    assert sniff(head) is None


def test_id3_length() -> None:
    """The tag's size is synchsafe, and a footer counts."""
    assert id3_length(b"ID3\x04\0\0\0\0\x01\x00") == 10 + 128
    assert id3_length(b"ID3\x04\0\x10\0\0\0\x05") == 20 + 5
    assert id3_length(b"fLaC") == 0
