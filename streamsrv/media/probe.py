"""Ask ffprobe what a file holds, behind the same whitelists as every other input."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from streamsrv.errors import UnusableFile
from streamsrv.media.child import Finished
from streamsrv.media.clock import Clock, late_seconds_of
from streamsrv.media.ffprobe import describe_arguments, measure_arguments, probe_arguments
from streamsrv.media.raw import RawKind, headerless_words, is_told, kind_here, raw_kind
from streamsrv.media.tools import FfmpegTools
from streamsrv.media.wav import Wav

# Codecs that keep every sample: their depth is the file's. All others count as 16 bit.
_LOSSLESS = ("pcm_", "flac", "alac", "ape", "tta", "wavpack", "tak", "truehd", "mlp", "wmalossless")

# Encrypted sound in MP4: by common encryption, by FairPlay, by Audible.
_PROTECTED = ("enca", "drms", "aavd")
_IS_PROTECTED = "The file is protected (DRM): only the programs that it was sold for can play it."
# In Hz. Telephones have 8000, and old games a quarter of that.
_LEAST_RATE = 1000
_UNKNOWN = (
    "The file isn't sound that can be read. Send an audio or video file, e.g. MP3, M4A, WAV, FLAC, OGG, MP4 or MKV."
)
# Hours of sound are gigabytes, which a slow disk takes its time to give.
_MEASURE_SECONDS = 900.0
_WORDS = (
    ("moov atom not found", "The file ends in the middle, or its index is missing."),
    ("Format not on whitelist", "This is a playlist, a script, a picture or something else that isn't sound."),
    ("DRM protected stream", _IS_PROTECTED),
    ("Could not open codec", "The sound is of a kind that isn't taken here."),
    ("Cannot allocate memory", "Looking into this file takes too much memory."),
    ("End of file", "The file ends before any sound begins."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a file holds. The first audio track is the one that is used.

    `duration_seconds` is of the track where the container says so, else of the file, else None. `duration_estimated`
    means that ffprobe derived it from the bit rate; `depth_bits` is 16 for lossy codecs, 24 for floats, at most 32.
    `late_seconds`: when the track begins, counted from the first one of all. `wav`: the file as it is meant; `raw`: its
    kind, where only its name tells.
    """

    format_name: str
    codec: str
    sample_rate: int
    channels: int
    depth_bits: int
    duration_seconds: float | None
    duration_estimated: bool
    has_video: bool
    is_float: bool = False
    pictures: int = 0
    late_seconds: float = 0.0
    wav: Wav | None = None
    raw: RawKind | None = None

    @classmethod
    def of_wav(cls, wav: Wav) -> "Source":
        """What a WAV holds that ffprobe would misread."""
        kind = wav.kind
        return cls(
            format_name="wav",
            codec=kind.codec,
            sample_rate=kind.sample_rate,
            channels=kind.channels,
            depth_bits=kind.depth_bits,
            duration_seconds=wav.seconds,
            duration_estimated=False,
            has_video=False,
            is_float=kind.is_float,
            wav=wav,
        )

    @property
    def clock(self) -> Clock:
        return Clock.of(self.format_name, self.sample_rate, self.late_seconds)


async def probe(tools: FfmpegTools, path: Path, *, demuxer: str | None = None, name: str = "") -> Source:
    """Read the file's header; where that says nothing the suffix of its `name` may tell.

    Raises UnusableFile, in words, where there is no sound that can be decoded.
    """
    argv = partial(probe_arguments, tools.ffprobe, path, decoders=tools.decoders)
    found = await look_into(tools, path, argv(demuxer=demuxer), argv(raw=raw_kind(name)), name=name)
    return read_probe(found.report, estimated=found.is_estimated, raw=found.raw)


@dataclass(frozen=True, slots=True)
class Found:
    """What ffprobe says of a file; `raw`: its kind, where only its name told."""

    report: dict[str, Any]
    is_estimated: bool
    raw: RawKind | None = None


async def look_into(
    tools: FfmpegTools, path: Path, argv: Sequence[str], raw_argv: Sequence[str], *, name: str
) -> Found:
    """Ask ffprobe by `argv`, and where that is no more than chance by `raw_argv`, if the file's name tells its kind.

    Raises UnusableFile.
    """
    result = await tools.look(argv, path)
    found = await asyncio.to_thread(_found, result)
    if found is None or not is_told(int(found.report.get("format", {}).get("probe_score", 0))):
        raw = kind_here(name, sandboxed=tools.sandboxed)
        found = found if raw is None else await asyncio.to_thread(_found, await tools.look(raw_argv, path), raw)
    if found is None:
        raise UnusableFile(headerless_words(name) or words_for(result.stderr))
    return found


def _found(result: Finished, raw: RawKind | None = None) -> Found | None:
    if result.returncode != 0:
        return None
    return Found(json.loads(result.stdout), "Estimating duration from bitrate" in result.stderr, raw)


async def describe(tools: FfmpegTools, path: Path, *, demuxer: str | None = None) -> object:
    """Give tracks and tags in a form that can be compared. With `demuxer` the file is read in order, like a pipe.

    From a pipe tags that stand behind the sound aren't seen. Raises UnusableFile.
    """
    result = await tools.look(describe_arguments(tools.ffprobe, path, demuxer=demuxer, decoders=tools.decoders), path)
    if result.returncode != 0:
        raise UnusableFile(words_for(result.stderr))
    return await asyncio.to_thread(json.loads, result.stdout)


@dataclass(frozen=True, slots=True)
class Measured:
    """A file that was made, read through: its packets, and the length that its header states."""

    packets: int
    duration_seconds: float


async def measure(tools: FfmpegTools, path: Path) -> Measured | None:
    """Read a file of our own from end to end; None where it can't be read as sound."""
    argv = measure_arguments(tools.ffprobe, path, decoders=tools.decoders)
    result = await tools.run(argv, readable=(path,), most_seconds=_MEASURE_SECONDS)
    if result.returncode != 0:
        return None
    report = json.loads(result.stdout)
    streams = report.get("streams") or [{}]
    seconds = seconds_of(streams[0].get("duration")) or seconds_of(report.get("format", {}).get("duration"))
    return Measured(int(streams[0].get("nb_read_packets", 0)), seconds or 0.0)


def read_probe(report: dict[str, Any], *, estimated: bool = False, raw: RawKind | None = None) -> Source:
    """Turn ffprobe's JSON into a Source. Pure."""
    streams = report.get("streams", [])
    audio = next((stream for stream in streams if stream.get("codec_type") == "audio"), None)
    if audio is None:
        raise UnusableFile("There is no sound in this file." if streams else _UNKNOWN)
    if (fault := fault_of(audio)) is not None:
        raise UnusableFile(fault)
    pictures = [stream for stream in streams if stream.get("disposition", {}).get("attached_pic")]
    has_video = any(stream.get("codec_type") == "video" and stream not in pictures for stream in streams)
    return Source(
        format_name=report.get("format", {}).get("format_name", ""),
        codec=audio.get("codec_name", "unknown"),
        sample_rate=int(audio["sample_rate"]),
        channels=int(audio["channels"]),
        depth_bits=depth_bits_of(audio),
        duration_seconds=_duration_seconds(audio, report.get("format", {}), has_video=has_video),
        duration_estimated=estimated,
        has_video=has_video,
        is_float=is_float(audio),
        pictures=len(pictures),
        late_seconds=late_seconds_of(audio, report),
        raw=raw,
    )


def fault_of(audio: dict[str, Any]) -> str | None:
    """Why a track can't be used, in words for people; None where nothing speaks against it."""
    codec, rate = audio.get("codec_name", "unknown"), int(audio.get("sample_rate") or 0)
    if audio.get("codec_tag_string") in _PROTECTED:
        return _IS_PROTECTED
    if codec == "unknown":
        return "The sound is of a kind that isn't known."
    if not rate or not audio.get("channels"):
        return _UNKNOWN  # a text that ffprobe takes for an MP3
    return f"The sound's rate is {rate} Hz, at which nothing can be heard." if rate < _LEAST_RATE else None


def _duration_seconds(audio: dict[str, Any], container: dict[str, Any], *, has_video: bool) -> float | None:
    seconds = track_seconds(audio, container)
    if seconds is not None:
        return seconds
    # The container's length is that of its longest track, which may be the picture.
    return None if has_video else seconds_of(container.get("duration"))


def track_seconds(audio: dict[str, Any], container: dict[str, Any]) -> float | None:
    """How long a track is by its container, in ffprobe's words for both; None where that doesn't say."""
    seconds = seconds_of(audio.get("duration")) or seconds_of(audio.get("tags", {}).get("DURATION"))
    if seconds is not None and container.get("format_name") == "ogg":
        # Positions there, of which this is the last, needn't begin at 0 (RFC 7845 section 4.5).
        seconds -= max(0.0, float(audio.get("start_time") or 0.0))
    return seconds


def seconds_of(text: str | None) -> float | None:
    """Read a length, `12.5` or Matroska's `00:00:12.500000000`."""
    if not text or text == "N/A":
        return None
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds if seconds > 0 else None


def is_float(audio: dict[str, Any]) -> bool:
    """Does the track keep samples as floats? Decoders of lossy codecs give floats as well."""
    return _is_lossless(audio) and str(audio.get("sample_fmt", "")).startswith(("flt", "dbl"))


def depth_bits_of(audio: dict[str, Any]) -> int:
    """The depth of a track by ffprobe's report: 16 for lossy codecs, 24 for floats, at most 32."""
    if is_float(audio):
        return 24
    if not _is_lossless(audio):
        return 16
    bits = int(audio.get("bits_per_raw_sample") or 0) or int(audio.get("bits_per_sample") or 0) or 16
    return max(16, min(bits, 32))


def _is_lossless(audio: dict[str, Any]) -> bool:
    return str(audio.get("codec_name", "")).startswith(_LOSSLESS)


def words_for(stderr: str) -> str:
    """What ffprobe's complaint means, for people."""
    return next((words for sign, words in _WORDS if sign in stderr), _UNKNOWN)
