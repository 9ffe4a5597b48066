"""Ask ffprobe what a file holds, behind the same whitelists as every other input."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsrv.errors import UnusableFile
from streamsrv.media.ffprobe import describe_arguments, measure_arguments, probe_arguments
from streamsrv.media.tools import FfmpegTools

# Codecs that keep every sample: their depth is the file's. All others count as 16 bit.
_LOSSLESS = ("pcm_", "flac", "alac", "ape", "tta", "wavpack", "tak", "truehd", "mlp", "wmalossless")

_UNKNOWN = "The file isn't sound that can be read. Send a song or a film, e.g. MP3, M4A, WAV, FLAC, OGG, MP4 or MKV."
# Hours of sound are gigabytes, which a slow disk takes its time to give.
_MEASURE_SECONDS = 900.0
_WORDS = (
    ("moov atom not found", "The file ends in the middle, or its index is missing."),
    ("Format not on whitelist", "This is a playlist, a script, a picture or something else that isn't sound."),
    ("End of file", "The file ends before any sound begins."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a file holds. The first audio track is the one that is used.

    `duration_seconds` is of the track where the container says so, else of the file, else None. `duration_estimated`
    means that ffprobe derived it from the bit rate; `depth_bits` is 16 for lossy codecs, 24 for floats, at most 32.
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


async def probe(tools: FfmpegTools, path: Path, *, demuxer: str | None = None) -> Source:
    """Read the file's header. Raises UnusableFile, in words, where there is no sound that can be decoded."""
    result = await tools.run(
        probe_arguments(tools.ffprobe, path, demuxer=demuxer, other_decoders=tools.other_decoders), readable=(path,)
    )
    if result.returncode != 0:
        raise UnusableFile(words_for(result.stderr))
    return read_probe(json.loads(result.stdout), estimated="Estimating duration from bitrate" in result.stderr)


async def describe(tools: FfmpegTools, path: Path, *, demuxer: str | None = None) -> object:
    """Give tracks and tags in a form that can be compared. With `demuxer` the file is read in order, like a pipe.

    From a pipe tags that stand behind the sound aren't seen. Raises UnusableFile.
    """
    result = await tools.run(
        describe_arguments(tools.ffprobe, path, demuxer=demuxer, other_decoders=tools.other_decoders), readable=(path,)
    )
    if result.returncode != 0:
        raise UnusableFile(words_for(result.stderr))
    return json.loads(result.stdout)


@dataclass(frozen=True, slots=True)
class Measured:
    """A file that was made, read through: its packets, and the length that its header states."""

    packets: int
    duration_seconds: float


async def measure(tools: FfmpegTools, path: Path) -> Measured | None:
    """Read a file of our own from end to end; None where it can't be read as sound."""
    argv = measure_arguments(tools.ffprobe, path, other_decoders=tools.other_decoders)
    result = await tools.run(argv, readable=(path,), most_seconds=_MEASURE_SECONDS)
    if result.returncode != 0:
        return None
    report = json.loads(result.stdout)
    streams = report.get("streams") or [{}]
    seconds = seconds_of(streams[0].get("duration")) or seconds_of(report.get("format", {}).get("duration"))
    return Measured(int(streams[0].get("nb_read_packets", 0)), seconds or 0.0)


def read_probe(report: dict[str, Any], *, estimated: bool = False) -> Source:
    """Turn ffprobe's JSON into a Source. Pure."""
    streams = report.get("streams", [])
    audio = next((stream for stream in streams if stream.get("codec_type") == "audio"), None)
    if audio is None or not int(audio.get("sample_rate", 0)) or not audio.get("channels"):
        raise UnusableFile("There is no sound in this file." if streams else _UNKNOWN)
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
    )


def _duration_seconds(audio: dict[str, Any], container: dict[str, Any], *, has_video: bool) -> float | None:
    for text in (audio.get("duration"), audio.get("tags", {}).get("DURATION")):
        seconds = seconds_of(text)
        if seconds is not None:
            return seconds
    # The container's length is that of its longest track, which may be the picture.
    return None if has_video else seconds_of(container.get("duration"))


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
