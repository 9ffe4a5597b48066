"""A player, not a GET: it follows a playlist, fetches each part with and without Range, and listens to the sum."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import m3u8
import numpy as np
import requests

from support.sound import decode


@dataclass
class Played:
    """What a player got: the parsed playlist and the decoded sound, int16 [samples, channels]."""

    playlist: m3u8.M3U8
    sound: np.ndarray
    parts: list[bytes]


def play(url: str, folder: Path) -> Played:
    """Fetch all that the playlist names, check what every reply promises, and decode it by ffmpeg."""
    text = requests.get(url, timeout=30)
    assert text.status_code == 200, text.text
    assert text.headers["Content-Type"] == "application/vnd.apple.mpegurl"
    playlist = m3u8.loads(text.text, uri=url)
    uris = [part.uri for part in playlist.segment_map if part] + [segment.uri for segment in playlist.segments]
    parts = [fetch(urljoin(url, uri)) for uri in uris]
    for segment in playlist.segments:
        assert segment.duration <= playlist.target_duration
    joined = folder / ("joined.mp4" if playlist.segment_map else "joined.ts")
    joined.write_bytes(b"".join(parts))
    return Played(playlist, decode(joined), parts)


def fetch(url: str) -> bytes:
    """A part, in one piece and in two: both are the same bytes under the same tag."""
    whole = requests.get(url, timeout=30)
    assert whole.status_code == 200, whole.text
    size = len(whole.content)
    middle = size // 2
    first = requests.get(url, headers={"Range": f"bytes=0-{middle - 1}"}, timeout=30)
    rest = requests.get(url, headers={"Range": f"bytes={middle}-", "If-Range": whole.headers["ETag"]}, timeout=30)
    assert (first.status_code, rest.status_code) == (206, 206)
    assert first.headers["Content-Range"] == f"bytes 0-{middle - 1}/{size}"
    assert first.content + rest.content == whole.content
    return whole.content
