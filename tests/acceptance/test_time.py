"""One rule of time in all jobs: what recorders, radios and joined files have comes out as one sound, none of it lost.

The reference knows nothing of the server: ffmpeg decodes, and silence is put in by the rule where the times of frames
say so.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.films import Grid, one_pass
from support.recordings import RECORDINGS, make_recording
from support.server import Server, serving
from support.spread import thoroughly
from support.ways import go_live, pause, ways

TOLERANCE_SECONDS = 0.05
# What can be decoded from its start on while it still arrives.
IN_ORDER = {".webm", ".mka", ".mkv", ".ogg", ".opus"}
# Of what is much the same one is tried by `make test`.
AGAIN = {
    *("a clock that is fast", "late in Matroska", "joined programme streams", "a hole in MP4", "Windows Media"),
    *("joined with a short pause", "chained Ogg", "late in a transport stream"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder / "data", environment={"STREAMSRV_EXTRACT__MEDIA_ROOTS": str(folder)}) as server:
        yield server


@pytest.mark.parametrize("name", [*(name for name in RECORDINGS if name not in AGAIN), *thoroughly(*sorted(AGAIN))])
def test_a_recording_sounds_the_same_in_every_job(name: str, server: Server, folder: Path, tmp_path: Path) -> None:
    """All of its sound is there, once, with silence where the rule of time has it, to the sample and either way."""
    file = make_recording(folder, name)
    grid = Grid(48000 if file.suffix in {".webm", ".opus"} else 44100, "stereo", 2, 16)
    wanted = one_pass(file, 0, grid).view("<i2")
    assert len(wanted) / grid.rate == pytest.approx(RECORDINGS[name].seconds, abs=TOLERANCE_SECONDS)
    for way, job in ways(go_live if file.suffix in IN_ORDER else pause).items():
        sound = job(server, file, tmp_path)
        assert not isinstance(sound, tuple), (way, sound)
        assert (way, len(sound)) == (way, len(wanted))
        assert np.array_equal(sound, wanted), way
