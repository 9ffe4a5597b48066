"""What cameras, telephones, television and old programs write: what can be made here comes through every job."""

import subprocess
from pathlib import Path

import pytest
from support.kinds import KINDS, SECONDS, TOLERANCE_SECONDS, make_kind
from support.odd_files import module
from support.server import Server
from support.sound import FFMPEG
from support.spread import thoroughly
from support.ways import pause, ways

TRIED = ("camera.mxf", "real.rm", "call.g722")


@pytest.mark.parametrize("name", [*TRIED, *thoroughly(*(name for name in KINDS if name not in TRIED))])
def test_each_kind_comes_through_every_job(name: str, media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """All of its sound comes back, whole and as it arrives."""
    file = make_kind(media_root, name)
    lengths = {}
    for way, job in ways(pause).items():
        answer = job(media_server, file, tmp_path)
        assert not isinstance(answer, tuple), (way, answer)
        lengths[way] = len(answer)
    assert len(set(lengths.values())) == 1, lengths
    rates = (8000, 16000, 22050, 44100, 48000)
    samples = lengths["extracted"]
    assert any(abs(samples / rate - SECONDS) < TOLERANCE_SECONDS for rate in rates), samples


def test_bare_samples_are_refused_in_words(media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """What has no header and no kind of its own is refused by every job, and words say what to do."""
    file = media_root / "samples.pcm"
    subprocess.run([*FFMPEG, "-f", "lavfi", "-i", "anoisesrc=d=2", "-f", "s16le", str(file)], check=True, timeout=60)
    for way, job in ways(pause).items():
        answer = job(media_server, file, tmp_path)
        assert isinstance(answer, tuple), way
        assert "no header with its sample rate" in answer[1], (way, answer)


def test_a_name_doesnt_overrule_what_is_in_a_file(media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """A WAV that is called otherwise is a WAV."""
    file = media_root / "song.al"
    source = ["-f", "lavfi", "-i", "sine=440:duration=2:sample_rate=44100"]
    subprocess.run([*FFMPEG, *source, "-f", "wav", str(file)], check=True, timeout=60)
    for way, job in ways(pause).items():
        answer = job(media_server, file, tmp_path)
        assert not isinstance(answer, tuple), (way, answer)
        assert len(answer) == 2 * 44100, way


@pytest.mark.thorough
def test_a_module_comes_through_every_job(media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """A tune of a tracker is played once, where decoders are walled in."""
    file = media_root / "tune.mod"
    file.write_bytes(module())
    for way, job in ways(pause).items():
        answer = job(media_server, file, tmp_path)
        assert not isinstance(answer, tuple), (way, answer)
        assert len(answer) / 48000 == pytest.approx(7.7, abs=0.2), way
