"""One rule of time in all jobs: what recorders, radios and joined files have comes out as one sound, none of it lost.

The reference knows nothing of the server: ffmpeg decodes, and silence is put in by the rule where the times of frames
say so.
"""

from pathlib import Path

import numpy as np
import pytest
from support.films import Grid, one_pass
from support.recordings import RECORDINGS, make_recording
from support.server import Server
from support.spread import thoroughly
from support.ways import go_live, pause, ways

TOLERANCE_SECONDS = 0.05
# What can be decoded from its start on while it still arrives.
IN_ORDER = {".webm", ".mka", ".mkv", ".ogg", ".opus"}
# Of what is much the same one is tried by `make test`.
AGAIN = {
    *("a clock that is fast", "late in Matroska", "joined programme streams", "a hole in MP4", "Windows Media"),
    *("joined with a short pause", "chained Ogg", "late in a transport stream"),
    *("jitter", "late in MP4"),
}


@pytest.mark.parametrize("name", [*(name for name in RECORDINGS if name not in AGAIN), *thoroughly(*sorted(AGAIN))])
def test_a_recording_sounds_the_same_in_every_job(
    name: str, media_server: Server, media_root: Path, tmp_path: Path
) -> None:
    """All of its sound is there, once, with silence where the rule of time has it, to the sample and either way."""
    file = make_recording(media_root, name)
    grid = Grid(48000 if file.suffix in {".webm", ".opus"} else 44100, "stereo", 2, 16)
    wanted = one_pass(file, 0, grid).view("<i2")
    assert len(wanted) / grid.rate == pytest.approx(RECORDINGS[name].seconds, abs=TOLERANCE_SECONDS)
    for way, job in ways(go_live if file.suffix in IN_ORDER else pause).items():
        sound = job(media_server, file, tmp_path)
        assert not isinstance(sound, tuple), (way, sound)
        assert (way, len(sound)) == (way, len(wanted))
        assert np.array_equal(sound, wanted), way
