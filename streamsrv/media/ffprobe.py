"""Questions to argv of ffprobe, behind the same whitelists as ffmpeg's inputs. Pure."""

from collections.abc import Sequence
from pathlib import Path

from streamsrv.media.arguments import checksums, whitelists
from streamsrv.media.inputs import AUDIO_DECODERS
from streamsrv.media.raw import RawKind

# The track that is used where nobody chooses one must be of a kind that is taken.
_FIRST_TRACK = ("-codec_whitelist:a:0", ",".join(AUDIO_DECODERS))
# When tracks begin: their first packets tell, of which the first ones of the file are enough.
_BEGINNING = ("-read_intervals", "%+#8")
_STAMPS = ":packet=stream_index,pts_time"
# No more than is read: tags can be as long as the file.
_PROBED = (
    "stream=codec_type,codec_name,codec_tag_string,sample_fmt,sample_rate,channels,start_time,duration"
    ",bits_per_sample,bits_per_raw_sample:stream_tags=DURATION:stream_disposition=attached_pic"
    ":format=format_name,duration,probe_score"
)
# All that goes along with the sound when a file is converted.
_DESCRIBED = "stream=codec_type,codec_name:stream_disposition=attached_pic:stream_tags:format_tags"
_FILM = (
    "stream=codec_type,codec_name,codec_tag_string,sample_fmt,sample_rate,channels,channel_layout,start_time,duration"
    ",bits_per_sample,bits_per_raw_sample:stream_tags=language,DURATION:stream_disposition=attached_pic"
    ":format=format_name,duration,probe_score"
)


def probe_arguments(
    program: str, path: Path, *, demuxer: str | None = None, raw: RawKind | None = None, decoders: str
) -> list[str]:
    """Describe the streams and the container as JSON.

    ffprobe fails when it may not open the decoder of each stream, so all but the first track of sound get `decoders`
    (comma-separated names of all); those are opened and see no packet, and what probes packets stays closed to them.
    """
    hint = ["-f", demuxer] if demuxer else _raw_options(raw)
    return _ffprobe(program, path, decoders, [*_FIRST_TRACK, *hint, *_BEGINNING, "-show_entries", _PROBED + _STAMPS])


def describe_arguments(program: str, path: Path, *, demuxer: str | None, decoders: str) -> list[str]:
    """List tracks and tags as JSON; with `demuxer`, those that are seen when the file comes through a pipe."""
    in_order = ["-seekable", "0", "-f", demuxer] if demuxer else []
    return _ffprobe(program, path, decoders, [*in_order, "-show_entries", _DESCRIBED])


def film_arguments(program: str, path: Path, *, raw: RawKind | None = None, decoders: str) -> list[str]:
    """List the audio tracks of a file and when it begins, as JSON."""
    return _ffprobe(program, path, decoders, [*_raw_options(raw), *_BEGINNING, "-show_entries", _FILM + _STAMPS])


def measure_arguments(program: str, path: Path, *, decoders: str) -> list[str]:
    """Count the packets of a file of our own by reading it through, and show the length that its header states."""
    shown = ["-select_streams", "a:0", "-show_entries", "stream=nb_read_packets,duration:format=duration"]
    return _ffprobe(program, path, decoders, ["-count_packets", *shown])


def frames_arguments(
    program: str, path: Path, *, track: int, raw: RawKind | None, codec: str = "", decoders: str
) -> list[str]:
    """Decode an audio track, counted from 0; say of each packet that there is one, and what frames came of it, as CSV.

    A frame's columns are its stamp in seconds, the place of its packet in the file, that one's bytes, and its samples.
    """
    shown = "packet=size:frame=pts_time,pkt_pos,pkt_size,nb_samples"
    allowed = [f"-codec_whitelist:a:{track}", ",".join(AUDIO_DECODERS)]
    allowed += [word for name, value in checksums(codec).items() for word in (f"-{name}", value)]
    shows = ["-select_streams", f"a:{track}", "-show_packets", "-show_frames", "-show_entries", shown]
    return [
        *_ffprobe(program, path, decoders, [*allowed, *_raw_options(raw), *shows]),
        "-of",
        "csv",
        "-loglevel",
        "quiet",
    ]


def _raw_options(raw: RawKind | None) -> list[str]:
    if raw is None:
        return []
    allowed = ["-format_whitelist", raw.demuxer]
    return allowed + [word for name, value in raw.options.items() for word in (f"-{name}", value)]


def _ffprobe(program: str, path: Path, decoders: str, options: Sequence[str]) -> list[str]:
    allowed = [word for name, value in whitelists("file").items() for word in (f"-{name}", value)]
    # Some are experimental, and no less able to spoil the track beside them.
    allowed += ["-strict", "-2"]
    allowed += [word for kind in "avsd" for word in (f"-codec_whitelist:{kind}", decoders)]
    return [program, "-hide_banner", "-loglevel", "warning", *allowed, *options, "-of", "json", "-i", str(path)]
