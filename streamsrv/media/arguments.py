"""Options to argv, by ffmpeg-python's `compile()`. Pure; paths are absolute: none can be taken for an option."""

from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from streamsrv.media.formats import AUDIO_DECODERS, DEMUXERS, Codec

# Errors and the final counts of samples and packets; each line begins with its level.
_LOG_LEVEL = "level+verbose"
# No more than is read: tags can be as long as the file.
_PROBED = (
    "stream=codec_type,codec_name,sample_rate,channels,duration,bits_per_sample,bits_per_raw_sample"
    ":stream_tags=DURATION:stream_disposition=attached_pic:format=format_name,duration"
)
_BITEXACT = {"flags": "+bitexact", "fflags": "+bitexact"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where ffmpeg reads. `path` None is standard input, which needs `demuxer`; decoded sound ends at `end_sample`."""

    path: Path | None = None
    demuxer: str | None = None
    end_sample: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One codec, all its numbers settled. `bitrate_bps` None: lossless; `sample_format` None: the encoder's own."""

    codec: Codec
    sample_rate: int
    channels: int
    bitrate_bps: int | None = None
    sample_format: str | None = None

    @property
    def frame_samples(self) -> int:
        return self.codec.samples_per_frame(self.sample_rate)

    def frames_per_segment(self, segment_seconds: float) -> int:
        """Whole frames in a segment, so many that it is never longer than `segment_seconds`; at least one.

        A transport stream counts time in 1/90000 s: by rounding a segment may get one frame more, and has room for it.
        """
        frames = int(segment_seconds * self.sample_rate) // self.frame_samples
        return max(1, frames - 1 if self.codec.container == "ts" else frames)


def hls_arguments(
    program: str, source: Input, encoding: Encoding, *, folder: Path, segment_seconds: float, max_seconds: float
) -> list[str]:
    """Write segments from number 1 on into `folder`, each by rename, and a playlist entry to stdout once one is done.

    No segment is longer than `segment_seconds`. One second more than `max_seconds` is decoded, so that a longer input
    can be told from one that just fits.
    """
    codec = encoding.codec
    microseconds = (
        encoding.frames_per_segment(segment_seconds) * encoding.frame_samples * 1_000_000 // encoding.sample_rate
    )
    options: dict[str, object] = {
        **_BITEXACT,
        "format": "hls",
        "acodec": codec.encoder,
        "ar": encoding.sample_rate,
        "ac": encoding.channels,
        "af": _filters(source, encoding),
        "map_metadata": -1,
        "t": f"{max_seconds + 1:g}",
        "hls_time": f"{microseconds}us",
        "hls_list_size": 1,
        "hls_flags": "temp_file+independent_segments",
        "start_number": 1,
        "hls_segment_filename": str(folder / f"segment_%05d{codec.segment_suffix}"),
    }
    if encoding.bitrate_bps is not None:
        options["audio_bitrate"] = encoding.bitrate_bps
    if encoding.sample_format is not None:
        options["sample_fmt"] = encoding.sample_format
    if codec.lossless:
        options["frame_size"] = codec.frame_samples
    if codec.container == "fmp4":
        options |= {"hls_segment_type": "fmp4", "hls_fmp4_init_filename": "init.mp4", "strict": -2}
    stream = ffmpeg.output(_input(source)["a:0"], "pipe:1", **options)
    stream = stream.global_args(
        "-nostdin", "-hide_banner", "-loglevel", _LOG_LEVEL, "-stats_period", "0.25", "-progress", "pipe:2"
    )
    return [str(argument) for argument in stream.compile(cmd=program)]


def probe_arguments(program: str, path: Path, *, demuxer: str | None, other_decoders: str) -> list[str]:
    """Describe the streams and the container as JSON.

    ffprobe fails when it may not open the decoder of each stream, so pictures and subtitles get `other_decoders`
    (comma-separated names); those are opened and see no packet, and what probes packets stays closed to them.
    """
    hint = ["-f", demuxer] if demuxer else []
    whitelists = [word for name, value in _whitelists("file").items() for word in (f"-{name}", value)]
    whitelists += ["-codec_whitelist:v", other_decoders, "-codec_whitelist:s", other_decoders]
    shown = ["-show_entries", _PROBED, "-of", "json"]
    return [program, "-hide_banner", "-loglevel", "warning", *whitelists, *hint, *shown, "-i", str(path)]


def _filters(source: Input, encoding: Encoding) -> str:
    trim = f"atrim=end_sample={source.end_sample}," if source.end_sample is not None else ""
    # Times are counted in samples that go to the encoder: those of containers are rounded, or have holes. Behind the
    # resampler a tick is a sample, so N is exact; N/SR/TB, which the manual has, is cut to one tick less now and then.
    return f"{trim}aresample={encoding.sample_rate},asetpts=N"


def _input(source: Input) -> ffmpeg.nodes.FilterableStream:
    options = _whitelists("pipe" if source.path is None else "file")
    if source.demuxer is not None:
        options["format"] = source.demuxer
    return ffmpeg.input("pipe:0" if source.path is None else str(source.path), vn=None, sn=None, dn=None, **options)


def _whitelists(protocols: str) -> dict[str, str]:
    # Without them a "song.mp3" that is really a playlist would make ffmpeg read other files of this machine.
    return {
        "protocol_whitelist": protocols,
        "format_whitelist": ",".join(DEMUXERS),
        "codec_whitelist": ",".join(AUDIO_DECODERS),
    }
