"""A file as a source of tracks: which of them are sound, by which clock they run, and how much they promise."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsrv.errors import UnusableFile
from streamsrv.media.checks import check_size
from streamsrv.media.declared import Declared, declared_bytes, declared_length
from streamsrv.media.ffprobe import film_arguments
from streamsrv.media.material import read_head
from streamsrv.media.probe import depth_bits_of, seconds_of, words_for
from streamsrv.media.tools import FfmpegTools

# As much as any tag of a language takes (RFC 5646 section 4.4.1); a file may say anything.
_LANGUAGE_CHARACTERS = 35


@dataclass(frozen=True, slots=True)
class Track:
    """One audio track; `number` counts the audio tracks of its file from 0.

    `layout` is ffmpeg's name of its loudspeakers, None where the file doesn't say; `declared` what it promises, if that
    can be relied on.
    """

    number: int
    codec: str
    sample_rate: int
    channels: int
    depth_bits: int
    language: str | None
    layout: str | None = None
    declared: Declared | None = None


@dataclass(frozen=True, slots=True)
class Film:
    """`start_seconds` is when the first of all tracks begins, by the file's own clock; `duration_seconds` is of all."""

    start_seconds: float
    duration_seconds: float | None
    tracks: tuple[Track, ...]


async def probe_film(tools: FfmpegTools, path: Path) -> Film:
    """Read the file's header. Raises UnusableFile, in words, where it is cut off or nothing that ffmpeg reads."""
    head, size = await asyncio.to_thread(read_head, path)
    check_size(declared_bytes(head), size)
    argv = film_arguments(tools.ffprobe, path, other_decoders=tools.other_decoders)
    result = await tools.run(argv, readable=(path,))
    if result.returncode != 0:
        raise UnusableFile(words_for(result.stderr))
    film = read_film(json.loads(result.stdout), head, estimated="Estimating duration from bitrate" in result.stderr)
    if film.tracks and not any(track.channels for track in film.tracks):
        raise UnusableFile(words_for(""))  # a text that ffprobe takes for an MP3
    return film


def read_film(report: dict[str, Any], head: bytes = b"", *, estimated: bool = False) -> Film:
    """Turn ffprobe's JSON and the file's first bytes into a Film. Pure. `estimated`: its lengths are guesses."""
    container = report.get("format", {})
    name = str(container.get("format_name", ""))
    tracks = []
    for number, stream in enumerate(s for s in report.get("streams", []) if s.get("codec_type") == "audio"):
        seconds = seconds_of(stream.get("duration")) or seconds_of(stream.get("tags", {}).get("DURATION"))
        tracks.append(_track(number, stream, declared_length(head, name, None if estimated else seconds)))
    return Film(
        start_seconds=float(container.get("start_time") or 0.0),
        duration_seconds=seconds_of(container.get("duration")),
        tracks=tuple(tracks),
    )


def _track(number: int, stream: dict[str, Any], declared: Declared | None) -> Track:
    language = stream.get("tags", {}).get("language")
    layout = stream.get("channel_layout")
    return Track(
        number=number,
        codec=stream.get("codec_name", "unknown"),
        sample_rate=int(stream.get("sample_rate") or 0),
        channels=int(stream.get("channels") or 0),
        depth_bits=depth_bits_of(stream),
        language=None if language in (None, "und") else language[:_LANGUAGE_CHARACTERS],
        layout=None if layout in (None, "unknown") else layout,
        declared=declared,
    )
