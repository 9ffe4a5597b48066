"""What headers promise, read from files that ffmpeg made."""

from pathlib import Path

import pytest
from support.sound import decode, tone

from streamsrv.media.integrity.declared import declared, declared_bytes, wav_seconds, xing_header
from streamsrv.media.probe import Source


def source(format_name: str, **changes: object) -> Source:
    values: dict[str, object] = {
        "codec": "any",
        "sample_rate": 44100,
        "channels": 2,
        "depth_bits": 16,
        "duration_seconds": None,
        "duration_estimated": False,
        "has_video": False,
    }
    return Source(format_name=format_name, **{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le"])
def test_wav_states_its_length(tmp_path: Path, codec: str) -> None:
    """The data chunk's size is the length, at any depth, even when most of the file is missing."""
    head = tone(tmp_path / "a.wav", seconds=2.5, options=f"-c:a {codec}").read_bytes()[:1000]
    assert wav_seconds(head) == pytest.approx(2.5, abs=1e-4)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_piped_wav_promises_nothing(size: int) -> None:
    """A writer that can't seek back leaves 0 or all ones as the size: that is no promise to hold it to."""
    fmt = (
        b"fmt \x10\0\0\0\x01\0\x02\0" + (44100).to_bytes(4, "little") + (176400).to_bytes(4, "little") + b"\x04\0\x10\0"
    )
    assert wav_seconds(b"RIFF\xff\xff\xff\xffWAVE" + fmt + b"data" + size.to_bytes(4, "little")) is None


@pytest.mark.parametrize("head", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\x7f"])
def test_a_broken_wav_promises_nothing(head: bytes) -> None:
    """Whatever stands there, it is read without an error."""
    assert wav_seconds(head) is None


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (44100, 1), (22050, 2), (22050, 1), (8000, 1)])
def test_xing_header_states_what_a_file_decodes_to(tmp_path: Path, rate: int, channels: int) -> None:
    """Frames less the encoder's delay and padding are exactly the samples that ffmpeg plays from the file."""
    path = tone(tmp_path / "a.mp3", seconds=1.7, rate=rate, channels=channels)
    xing = xing_header(path.read_bytes()[:8192])
    assert xing is not None
    assert (xing.sample_rate, xing.trimmed) == (rate, True)
    assert xing.samples == len(decode(path))


def test_mp3_without_a_header_promises_nothing(tmp_path: Path) -> None:
    """The probe's length of such a file is a guess, and half of it can't be told from the whole."""
    path = tone(tmp_path / "a.mp3", options="-write_xing 0")
    assert xing_header(path.read_bytes()[:8192]) is None
    assert declared(path.read_bytes()[:8192], source("mp3", duration_seconds=3.0)) is None


def test_estimates_are_no_promises() -> None:
    """A length that ffprobe derived from the bit rate never fails a job."""
    assert declared(b"", source("flac", duration_seconds=60.0)) is not None
    assert declared(b"", source("flac", duration_seconds=60.0, duration_estimated=True)) is None
    assert declared(b"", source("aac", duration_seconds=60.0)) is None
    assert declared(b"", source("flac")) is None


def test_matroska_states_its_size(tmp_path: Path) -> None:
    """A finished file says how long it is, one that was written to a pipe doesn't, and a broken one is read calmly."""
    whole = tone(tmp_path / "a.mkv").read_bytes()
    assert declared_bytes(whole[:1000]) == len(whole)
    live = tone(tmp_path / "b.mkv", options="-f matroska -live 1").read_bytes()
    assert declared_bytes(live[:1000]) is None
    for cut in range(60):
        declared_bytes(whole[:cut])
    assert declared_bytes(b"RIFF") is None
