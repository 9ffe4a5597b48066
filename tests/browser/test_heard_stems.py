"""Stems of the built-in model as the page's mixer plays them: drums are heard in drums, and hardly in vocals."""

import base64
from pathlib import Path

import numpy as np
import pytest
import requests
from support.page.mixer import NEW_MIX, RATE, RENDER
from support.performed import STEMS, performed, written
from support.songs import completed_song, send_song

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS = 6.0
# Beats and a voice that do without each other for a while: each is heard alone, and both together.
DRUMS_ALONE, VOCALS_ALONE = slice(0, 2 * RATE), slice(4 * RATE, 6 * RATE)
# From here on the recorded voice doesn't rest.
VOCALS_BEGIN = 7 * RATE


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded drums for three and a half seconds, since the mixer begins a little late, and a voice after two."""
    stems = dict(zip(STEMS, performed(), strict=True))
    mix = np.zeros((2, round(SECONDS * RATE)), np.float32)
    beaten, sung = round(3.5 * RATE), slice(VOCALS_BEGIN, VOCALS_BEGIN + 4 * RATE)
    mix[:, :beaten] += stems["drums"][:, :beaten]
    mix[:, 2 * RATE :] += stems["vocals"][:, sung]
    return written(tmp_path_factory.mktemp("heard") / "song.flac", mix)


async def played(visit, told: dict, name: str) -> np.ndarray:
    """What the mixer plays of a song with all stems muted but that one: the left channel."""
    tracks = [
        {"name": track["name"], "playlist": track["playlist_url"], "wav": None}
        for track in told["tracks"]
        if not track["is_mix"]
    ]
    await visit.page.evaluate(NEW_MIX, {"tracks": tracks, "rate": RATE, "offlineSeconds": SECONDS - 0.5})
    for track in tracks:
        if track["name"] != name:
            await visit.page.evaluate(f"mix.adjust({track['name']!r}, {{ isMuted: true }})")
    await visit.page.evaluate("mix.play()")
    await visit.until("mix.state === 'playing'")
    segments = requests.get(tracks[0]["playlist"], timeout=30).text.count("#EXTINF")
    await visit.until(f"mix.decoded.length == {segments}")
    return np.frombuffer(base64.b64decode(await visit.page.evaluate(RENDER)), dtype="<f4")


def level(samples: np.ndarray, part: slice) -> float:
    """In dB below full scale."""
    return float(10 * np.log10(np.mean(samples[part] ** 2) + 1e-12))


@pytest.mark.thorough
async def test_drums_are_heard_in_drums(open_page, server, song: Path) -> None:
    """Alone, each stem of drums and a voice sounds where its own player plays, and is far below that where only
    the other one does.
    """
    told = completed_song(server, send_song(server, song))
    assert told["model"] == "streamsrv-small"
    async with open_page(task="#separate") as visit:
        beats, sung = [await played(visit, told, name) for name in ("drums", "vocals")]
    assert level(beats, DRUMS_ALONE) > level(sung, DRUMS_ALONE) + 10
    assert level(sung, VOCALS_ALONE) > level(beats, VOCALS_ALONE) + 10
    assert min(level(beats, DRUMS_ALONE), level(sung, VOCALS_ALONE)) > -40
