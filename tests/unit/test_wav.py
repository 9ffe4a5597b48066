"""WAVs as they are meant."""

import struct

import pytest
from support.odd_files import fmt, samples, wav

from streamsrv.errors import UnusableFile
from streamsrv.media.wav import Wav, mended

SOUND = samples(0.2)
EMPTY = b"junk" + bytes(4)


def look(file: bytes) -> Wav | None:
    return mended(file[: 64 << 10], len(file), lambda offset, count: file[offset : offset + count])


def test_a_plain_one_stays_as_it_is() -> None:
    """What ffmpeg reads rightly isn't touched, with or without tags behind its sound."""
    assert look(wav(SOUND)) is None
    assert look(wav(SOUND) + EMPTY * 100) is None


def test_a_form_is_mended_where_it_stands() -> None:
    """A text before it that looks like its name isn't taken for it."""
    form = fmt(block_align=1)
    text = b"LIST" + struct.pack("<I", 28) + b"INFOINAM\x10\0\0\0a fmt chunk here"
    file = wav(SOUND, form)
    file = file[:12] + text + file[12:]
    found = look(file)
    assert found is not None
    assert found.head.count(text) == 1
    assert fmt() in found.head


def test_a_walk_over_chunks_ends() -> None:
    """A file of nothing but empty chunks costs a bounded number of looks."""
    with pytest.raises(UnusableFile, match="more pieces"):
        look(wav(SOUND) + EMPTY * 100_000)
