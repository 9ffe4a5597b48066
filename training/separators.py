"""Three ways to have a song separated: by a server that runs, by one that is started for it, by Demucs's own function.

Each is a context manager that gives a function from a mix [2, sample] to its `Estimate`.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import numpy as np

from training.measures import Samples
from training.songs.score import STEMS
from training.soundfiles import read_sound, wav

_CANDIDATE = "candidate"
_POLL_SECONDS = 0.1
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_ENDED = ("Completed", "Failed", "Cancelled")


class SeparationFailed(ValueError):
    """No stems came back; the text says why."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was made of a mix: float32 [stem, channel, sample] in the order of STEMS, on which device, and in what time.

    For a server that is from the first byte sent until all tracks are encoded.
    """

    stems: Samples
    seconds: float
    device: str


Separate = Callable[[Samples], Estimate]


@contextmanager
def server(url: str, model: str | None) -> Iterator[Separate]:
    """A server that runs at `url`, with the model of that name, or the server's own choice."""

    def separate(mix: Samples) -> Estimate:
        try:
            return asyncio.run(_ask(url, model, mix))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SeparationFailed(f"The server at {url} can't be reached: {error}") from error

    yield separate


@contextmanager
def own_server(weights: Path) -> Iterator[Separate]:
    """A server of our own on this machine, whose folder of models has the file `weights` alone."""
    with TemporaryDirectory(prefix="streamsrv-evaluate-") as folder:
        # By another name: the server's own model keeps its name for itself.
        repo = Path(folder) / "models"
        repo.mkdir()
        (repo / f"{_CANDIDATE}.safetensors").symlink_to(weights.resolve())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        address = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(Path(folder) / "data")]
        models = {"MODEL_REPO": str(repo), "MODEL": _CANDIDATE}
        settings = {f"STREAMSRV_SEPARATE__{name}": value for name, value in models.items()}
        log = Path(folder) / "log"
        with log.open("wb") as output:
            argv = [sys.executable, "-m", "streamsrv", "serve", *address]
            child = subprocess.Popen(argv, stdout=output, stderr=output, env={**os.environ, **settings})
        try:
            url = f"http://127.0.0.1:{port}"
            asyncio.run(_await_health(url, child))
            with server(url, _CANDIDATE) as separate:
                yield separate
        except SeparationFailed as error:
            raise SeparationFailed(f"{error}\n{log.read_text(errors='replace')[-3000:]}") from error
        finally:
            _stop(child)


@contextmanager
def demucs(weights: Path) -> Iterator[Separate]:
    """Demucs's own function in this process, without delays, as the server does it; on a GPU if there is one."""
    import torch  # noqa: PLC0415 - a server of our own needs none of it in this process
    from demucs.apply import apply_model  # noqa: PLC0415

    from training.network import load_model  # noqa: PLC0415

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(weights)
    places = [model.sources.index(name) for name in STEMS]

    def separate(mix: Samples) -> Estimate:
        start = time.monotonic()
        sound = torch.from_numpy(mix)
        mean, deviation = sound.mean(0).mean(), sound.mean(0).std() + 1e-8
        made = apply_model(model, ((sound - mean) / deviation)[None], shifts=0, device=device)[0]
        stems = (made * deviation + mean).numpy()[places]
        return Estimate(stems, time.monotonic() - start, device)

    yield separate


async def _ask(url: str, model: str | None, mix: Samples) -> Estimate:
    """Send the song, await its end, fetch its stems and have it removed again."""
    # Each time another file, as its hash tells: a server answers a song that it knows from what it has.
    data = wav(mix, f"evaluation {uuid.uuid4()}")
    timeout = aiohttp.ClientTimeout(total=None, sock_read=120)
    async with aiohttp.ClientSession(url.rstrip("/") + "/", timeout=timeout) as session:
        query = {"model": model} if model else {}
        start = time.monotonic()
        song = (await _json(session, "POST", "apiv1/separate", data=_form(data, query)))["hash"]
        try:
            found = await _ended(session, song, query)
            seconds = time.monotonic() - start
            if found["status"] != "Completed":
                raise SeparationFailed(f"The song is {found['status']}: {found['error']}")
            tracks = [await _fetch(session, "GET", f"apiv1/track/{song}/{name}.wav", params=query) for name in STEMS]
        finally:
            await _fetch(session, "DELETE", f"apiv1/song/{song}", params=query)
    return Estimate(np.stack([read_sound(track) for track in tracks]), seconds, ", ".join(found["devices"]))


def _form(data: bytes, fields: dict[str, str]) -> aiohttp.FormData:
    form = aiohttp.FormData(fields)
    form.add_field("file", data, filename="mix.wav", content_type="audio/wav")
    return form


async def _ended(session: aiohttp.ClientSession, song: str, query: dict[str, str]) -> dict[str, Any]:
    while True:
        found = await _json(session, "GET", f"apiv1/song/{song}", params=query)
        if found["status"] in _ENDED:
            return found
        await asyncio.sleep(_POLL_SECONDS)


async def _json(session: aiohttp.ClientSession, method: str, path: str, **options: Any) -> dict[str, Any]:
    async with session.request(method, path, **options) as reply:
        await _check(reply)
        return dict(await reply.json())


async def _fetch(session: aiohttp.ClientSession, method: str, path: str, **options: Any) -> bytes:
    async with session.request(method, path, **options) as reply:
        await _check(reply)
        return await reply.read()


async def _check(reply: aiohttp.ClientResponse) -> None:
    if not reply.ok:
        raise SeparationFailed(f"{reply.method} {reply.url.path}: {reply.status} {await reply.text()}")


async def _await_health(url: str, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    async with aiohttp.ClientSession(url) as session:
        while True:
            if child.poll() is not None or time.monotonic() > deadline:
                raise SeparationFailed("The server didn't start.")
            try:
                await _fetch(session, "GET", "/health")
            except (aiohttp.ClientConnectionError, SeparationFailed):
                await asyncio.sleep(_POLL_SECONDS)  # it isn't there yet, or not ready
            else:
                return


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
