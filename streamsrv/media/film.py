"""A file as a source of tracks: which of them are sound, by which clock they run, and how much they promise."""

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from streamsrv.errors import UnusableFile
from streamsrv.media.clock import Clock, late_seconds_of
from streamsrv.media.ffprobe import film_arguments
from streamsrv.media.integrity.declared import Declared, declared_bytes, declared_length, declared_wav
from streamsrv.media.integrity.loss import Terms, check_size
from streamsrv.media.integrity.structure import Examined
from streamsrv.media.material import Looked, look
from streamsrv.media.probe import depth_bits_of, fault_of, is_float, look_into, seconds_of, track_seconds
from streamsrv.media.raw import RawKind, raw_kind
from streamsrv.media.tools import FfmpegTools
from streamsrv.media.wav import Wav
from streamsrv.text import shown

# As much as any tag of a language takes (RFC 5646 section 4.4.1); a file may say anything.
_LANGUAGE_CHARACTERS = 35


@dataclass(frozen=True, slots=True)
class Track:
    """One audio track; `number` counts the audio tracks of its file from 0.

    `layout` is ffmpeg's name of its loudspeakers, None where the file doesn't say; `declared` what it promises, if that
    can be relied on; `clock` how its stamps are read; `is_float`: it keeps samples as floats.
    `fault`: why it can't be used, in words for people; `wav`: its file as it is meant, where ffmpeg would misread it.
    """

    number: int
    codec: str
    sample_rate: int
    channels: int
    depth_bits: int
    language: str | None
    layout: str | None = None
    declared: Declared | None = None
    clock: Clock | None = None
    is_float: bool = False
    fault: str | None = None
    wav: Wav | None = None


@dataclass(frozen=True, slots=True)
class Film:
    """The audio tracks of a file; `duration_seconds` is that of all its tracks, `format_name` its container's.

    It states a size of `promised_bytes`, if any, and has `actual_bytes`. `raw`: its kind, where only its name tells.
    """

    duration_seconds: float | None
    tracks: tuple[Track, ...]
    format_name: str = ""
    promised_bytes: int | None = None
    actual_bytes: int = 0
    raw: RawKind | None = None

    def terms(self, terms: Terms) -> Terms:
        """How it can be taken on these. Raises DamagedFile where its end is missing and that isn't tolerated."""
        return check_size(self.promised_bytes, self.actual_bytes, terms)

    def examined(self, path: Path, track: Track) -> Examined | None:
        """What is looked into again where a decoder of that track complained. Samples have no damage."""
        return None if track.wav is not None else Examined(path, self.format_name, track.number, self.raw, track.codec)


async def probe_film(tools: FfmpegTools, path: Path, *, name: str = "") -> Film:
    """Read the file's header. Raises UnusableFile, in words, where it is nothing that ffmpeg reads.

    Where the header says nothing the suffix of its `name` may tell.
    """
    looked = await asyncio.to_thread(look, path)
    if looked.wav is not None:
        return _film_of_wav(looked.wav, looked)
    argv = partial(film_arguments, tools.ffprobe, path, decoders=tools.decoders)
    found = await look_into(tools, path, argv(), argv(raw=raw_kind(name)), name=name)
    film = await asyncio.to_thread(read_film, found.report, looked.head, looked.size, estimated=found.is_estimated)
    film = replace(film, raw=found.raw)
    if film.tracks and all(track.fault for track in film.tracks):
        raise UnusableFile(film.tracks[0].fault)
    return film


def _film_of_wav(wav: Wav, looked: Looked) -> Film:
    kind = wav.kind
    plain = declared_length(looked.head, "wav", None, looked.size)
    track = Track(
        number=0,
        codec=kind.codec,
        sample_rate=kind.sample_rate,
        channels=kind.channels,
        depth_bits=kind.depth_bits,
        language=None,
        declared=plain if len(wav.stretches) == 1 else declared_wav(wav),
        clock=Clock(kind.sample_rate),
        is_float=kind.is_float,
        wav=wav,
    )
    promised, actual = looked.promised_bytes, looked.size
    return Film(wav.seconds, (track,), format_name="wav", promised_bytes=promised, actual_bytes=actual)


def read_film(
    report: dict[str, Any], head: bytes = b"", file_bytes: int | None = None, *, estimated: bool = False
) -> Film:
    """Turn ffprobe's JSON, a file's first bytes and size into a Film. Pure. `estimated`: its lengths are guesses."""
    container = report.get("format", {})
    name = str(container.get("format_name", ""))
    tracks = []
    streams = report.get("streams", [])
    for number, stream in enumerate(each for each in streams if each.get("codec_type") == "audio"):
        seconds = track_seconds(stream, container)
        clock = Clock.of(name, int(stream.get("sample_rate") or 0), late_seconds_of(stream, report))
        tracks.append(
            _track(number, stream, declared_length(head, name, None if estimated else seconds, file_bytes), clock)
        )
    return Film(
        duration_seconds=seconds_of(container.get("duration")),
        tracks=tuple(tracks),
        format_name=name,
        promised_bytes=declared_bytes(head),
        actual_bytes=len(head) if file_bytes is None else file_bytes,
    )


def _track(number: int, stream: dict[str, Any], declared: Declared | None, clock: Clock) -> Track:
    language = stream.get("tags", {}).get("language")
    layout = stream.get("channel_layout")
    return Track(
        number=number,
        codec=stream.get("codec_name", "unknown"),
        sample_rate=int(stream.get("sample_rate") or 0),
        channels=int(stream.get("channels") or 0),
        depth_bits=depth_bits_of(stream),
        language=None if language in (None, "und") else shown(language)[:_LANGUAGE_CHARACTERS] or None,
        layout=None if layout in (None, "unknown") else layout,
        declared=declared,
        clock=clock,
        is_float=is_float(stream),
        fault=fault_of(stream),
    )
