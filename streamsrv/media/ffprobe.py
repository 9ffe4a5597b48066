"""Questions to argv of ffprobe, behind the same whitelists as ffmpeg's inputs. Pure."""

from collections.abc import Sequence
from pathlib import Path

from streamsrv.media.arguments import whitelists

# No more than is read: tags can be as long as the file.
_PROBED = (
    "stream=codec_type,codec_name,sample_fmt,sample_rate,channels,duration,bits_per_sample,bits_per_raw_sample"
    ":stream_tags=DURATION:stream_disposition=attached_pic:format=format_name,duration"
)
# All that goes along with the sound when a file is converted.
_DESCRIBED = "stream=codec_type,codec_name:stream_disposition=attached_pic:stream_tags:format_tags"
_FILM = (
    "stream=codec_type,codec_name,sample_fmt,sample_rate,channels,channel_layout,duration,bits_per_sample"
    ",bits_per_raw_sample:stream_tags=language,DURATION:format=format_name,start_time,duration"
)


def probe_arguments(program: str, path: Path, *, demuxer: str | None, other_decoders: str) -> list[str]:
    """Describe the streams and the container as JSON.

    ffprobe fails when it may not open the decoder of each stream, so pictures and subtitles get `other_decoders`
    (comma-separated names); those are opened and see no packet, and what probes packets stays closed to them.
    """
    hint = ["-f", demuxer] if demuxer else []
    return _ffprobe(program, path, other_decoders, [*hint, "-show_entries", _PROBED])


def describe_arguments(program: str, path: Path, *, demuxer: str | None, other_decoders: str) -> list[str]:
    """List tracks and tags as JSON; with `demuxer`, those that are seen when the file comes through a pipe."""
    in_order = ["-seekable", "0", "-f", demuxer] if demuxer else []
    return _ffprobe(program, path, other_decoders, [*in_order, "-show_entries", _DESCRIBED])


def film_arguments(program: str, path: Path, *, other_decoders: str) -> list[str]:
    """List the audio tracks of a file and when it begins, as JSON."""
    return _ffprobe(program, path, other_decoders, ["-show_entries", _FILM])


def measure_arguments(program: str, path: Path, *, other_decoders: str) -> list[str]:
    """Count the packets of a file of our own by reading it through, and show the length that its header states."""
    shown = ["-select_streams", "a:0", "-show_entries", "stream=nb_read_packets,duration:format=duration"]
    return _ffprobe(program, path, other_decoders, ["-count_packets", *shown])


def _ffprobe(program: str, path: Path, other_decoders: str, options: Sequence[str]) -> list[str]:
    allowed = [word for name, value in whitelists("file").items() for word in (f"-{name}", value)]
    allowed += ["-codec_whitelist:v", other_decoders, "-codec_whitelist:s", other_decoders]
    return [program, "-hide_banner", "-loglevel", "warning", *allowed, *options, "-of", "json", "-i", str(path)]
