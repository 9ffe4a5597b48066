"""What comes of a song: all that can be had of it, by digests and by sound."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import numpy as np
import requests

from support.deadline import WAIT_SECONDS, until
from support.server import Server
from support.songs import completed_song, get_song
from support.sound import decode
from support.traces.files import digest


@dataclass(frozen=True)
class Made:
    """What came of a song: the digest of each WAV, the sound of each MP3, the windows that were separated."""

    wavs: Mapping[str, str]
    mp3s: Mapping[str, np.ndarray]
    windows: frozenset[str]


def made_of(server: Server, song: str, windows: Iterable[str] = ()) -> Made:
    """The tracks of a Completed song."""
    found = completed_song(server, song)
    wavs, mp3s = {}, {}
    for track in found["tracks"]:
        wavs[track["name"]] = digest(fetched(track["wav_url"]).content)
        path = server.log.with_name("track.mp3")
        path.write_bytes(fetched(track["mp3_url"]).content)
        mp3s[track["name"]] = decode(path)
    return Made(wavs, mp3s, frozenset(windows))


def assert_same(made: Made, expected: Made) -> None:
    """Sample for sample."""
    assert made.wavs == expected.wavs
    for name, sound in made.mp3s.items():
        assert np.array_equal(sound, expected.mp3s[name]), name


def fetched(url: str) -> requests.Response:
    reply = requests.get(url, timeout=WAIT_SECONDS)
    assert reply.status_code == 200, reply.text
    return reply


def remove(server: Server, song: str) -> None:
    """Cancel it, should it run, and then remove it."""
    url = f"{server.url}/apiv1/song/{song}"
    assert requests.delete(url, timeout=WAIT_SECONDS).status_code in (200, 202, 204)
    until(lambda: requests.delete(url, timeout=WAIT_SECONDS).status_code == 404)


def served(server: Server, song: str) -> dict[str, tuple[str, str]]:
    """All that a player can have of a song now, all tracks: paths, each with the digest of its bytes and its ETag."""
    found = {}
    for track in get_song(server, song)["tracks"]:
        playlist = fetched(track["playlist_url"])
        names = [line for line in playlist.text.splitlines() if line and not line.startswith("#")]
        inits = [line.split('"')[1] for line in playlist.text.splitlines() if line.startswith("#EXT-X-MAP")]
        for name in inits + names:
            reply = fetched(urljoin(playlist.url, name))
            found[urlsplit(reply.url).path] = digest(reply.content), reply.headers["ETag"]
    return found


def has_segments(count: int) -> Callable[[Mapping[str, Any]], bool]:
    """Are there so many segments of each track?"""

    def enough(found: Mapping[str, Any]) -> bool:
        urls = [track["playlist_url"] for track in found["tracks"]]
        return bool(urls) and urls[0] is not None and fetched(urls[0]).text.count("#EXTINF") >= count

    return enough
