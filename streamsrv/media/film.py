"""A file as a source of tracks: which of them are sound, and by which clock they run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsrv.errors import UnusableFile
from streamsrv.media.arguments import film_arguments
from streamsrv.media.probe import depth_bits_of, words_for
from streamsrv.media.tools import FfmpegTools


@dataclass(frozen=True, slots=True)
class Track:
    """One audio track; `number` counts the audio tracks of its file from 0."""

    number: int
    codec: str
    sample_rate: int
    channels: int
    depth_bits: int
    language: str | None


@dataclass(frozen=True, slots=True)
class Film:
    """`start_seconds` is when the first of all tracks begins, by the file's own clock; `duration_seconds` is of all."""

    start_seconds: float
    duration_seconds: float | None
    tracks: tuple[Track, ...]


async def probe_film(tools: FfmpegTools, path: Path) -> Film:
    """Read the file's header. Raises UnusableFile, in words, where it is nothing that ffmpeg reads."""
    argv = film_arguments(tools.ffprobe, path, other_decoders=tools.other_decoders)
    result = await tools.run(argv, readable=(path,))
    if result.returncode != 0:
        raise UnusableFile(words_for(result.stderr))
    return read_film(json.loads(result.stdout))


def read_film(report: dict[str, Any]) -> Film:
    """Turn ffprobe's JSON into a Film. Pure."""
    audio = [stream for stream in report.get("streams", []) if stream.get("codec_type") == "audio"]
    container = report.get("format", {})
    return Film(
        start_seconds=float(container.get("start_time") or 0.0),
        duration_seconds=float(container["duration"]) if container.get("duration") else None,
        tracks=tuple(_track(number, stream) for number, stream in enumerate(audio)),
    )


def _track(number: int, stream: dict[str, Any]) -> Track:
    language = stream.get("tags", {}).get("language")
    return Track(
        number=number,
        codec=stream.get("codec_name", "unknown"),
        sample_rate=int(stream.get("sample_rate") or 0),
        channels=int(stream.get("channels") or 0),
        depth_bits=depth_bits_of(stream),
        language=None if language in (None, "und") else language,
    )
