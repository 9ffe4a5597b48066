"""One file into every job that gives sound: whole and as it arrives, converted, streamed and extracted."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import requests

from support.player import play
from support.server import Server
from support.sound import decode
from support.wire.conversion import Conversion
from support.wire.messages import new_id
from support.wire.stream import StreamUpload
from support.wire.upload import START_BYTES, Upload

PAUSE_SECONDS = 0.4
# What a job says that has failed, and its status where that was said at once.
Refusal = tuple[int, str]
Answer = np.ndarray | Refusal
Slowly = Callable[[Any], None]


def converted(server: Server, file: Path, work: Path, *, slowly: Slowly | None) -> Answer:
    """As WAV, by a form with the option before the file, which is sent `slowly`, or behind it."""
    with Conversion(server, file, "wav", late=slowly is None) as conversion:
        if slowly is not None:
            slowly(conversion)
        reply = conversion.finish()
    return decode(reply.saved(work / "converted.wav")) if reply.status == 200 else (reply.status, reply.detail)


def streamed(server: Server, file: Path, work: Path, *, slowly: Slowly | None) -> Answer:
    """As FLAC segments."""
    with StreamUpload(server, new_id(), file, {"codec": "flac"}, late=slowly is None) as upload:
        if slowly is not None:
            slowly(upload)
        reply = upload.finish()
    if reply.status != 200:
        return reply.status, reply.detail
    job = server.ended(upload.job_id)
    if job["status"] != "Completed":
        return 0, job["error"]
    return play(server.playlist(upload.job_id), work).sound


def extracted(server: Server, file: Path, work: Path) -> Answer:
    """As WAV, from a folder of the server's."""
    asked: dict[str, Any] = {"video_files": [file.as_uri()], "format": "wav"}
    reply = requests.post(f"{server.url}/extract_audio", json=asked, timeout=30)
    if reply.status_code != 202:
        return reply.status_code, reply.json()["detail"]
    with requests.get(f"{reply.headers['Location']}/events", timeout=60) as events:
        assert events.status_code == 200
    job = requests.get(reply.headers["Location"], timeout=30).json()
    if job["status"] != "Completed":
        return 0, job["error"]
    path = work / "extracted.wav"
    path.write_bytes(requests.get(job["audio_file"], timeout=30).content)
    return decode(path)


def pause(upload: Upload) -> None:
    """Send a start, and no more for a while: what can be worked on meanwhile is, in all likelihood."""
    if upload.left > 2 * START_BYTES:
        upload.send(START_BYTES)
        time.sleep(PAUSE_SECONDS)


def go_live(upload: Conversion | StreamUpload) -> None:
    """Send a start, and on until it is surely worked on."""
    upload.go_live()


def ways(slowly: Slowly) -> Mapping[str, Callable[[Server, Path, Path], Answer]]:
    """All of them; `slowly` sends the beginning of what is to be worked on while it arrives."""
    return {
        "converted whole": partial(converted, slowly=None),
        "converted as it arrives": partial(converted, slowly=slowly),
        "streamed whole": partial(streamed, slowly=None),
        "streamed as it arrives": partial(streamed, slowly=slowly),
        "extracted": extracted,
    }
