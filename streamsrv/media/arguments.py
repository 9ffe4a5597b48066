"""Options to argv, by ffmpeg-python's `compile()`. Pure; paths are absolute: none can be taken for an option."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import ffmpeg

from streamsrv.media.clock import Clock
from streamsrv.media.feed import Piece
from streamsrv.media.formats import Codec, Format
from streamsrv.media.inputs import AUDIO_DECODERS, DEMUXERS, PICTURE_DECODERS
from streamsrv.media.raw import RawKind
from streamsrv.media.wav import Wav

# Errors and the final counts of samples and packets; each line begins with its level.
_LOG_LEVEL = "level+verbose"
_STEREO = 2
# A resampler makes nothing of fewer than about 20.
_LEAST_SAMPLES = 64
_BITEXACT = {"flags": "+bitexact", "fflags": "+bitexact"}
# It tells in the log how many there are that aren't.
_NUMBERS = "astats=measure_perchannel=none:measure_overall=Number_of_NaNs+Number_of_Infs"
# Codecs with checksums of each frame, which ffmpeg doesn't look at unless it is asked to.
_CHECKED = ("flac", "wavpack", "tta", "ape", "tak", "mp4als")
# What containers note about themselves; in another container it means nothing.
_CONTAINERS_OWN = ("major_brand", "minor_version", "compatible_brands", "vendor_id", "handler_name", "DURATION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where ffmpeg reads. `path` None is standard input, which needs `demuxer`; `parts` go there, if there are any.
    `raw` is the kind of a file whose bytes don't tell it.

    Of the decoded sound it takes what lies from `start_sample` up to, not including, `end_sample`; `clock` says where
    silence belongs into it before. Of a track of floats all are looked at, whether they are numbers; `codec` is
    ffmpeg's name of what it is coded in, where that matters. With `pcm`
    standard input is raw samples of our own.
    """

    path: Path | None = None
    pcm: "Pcm | None" = None
    demuxer: str | None = None
    raw: RawKind | None = None
    clock: Clock | None = None
    is_float: bool = False
    codec: str = ""
    parts: tuple[Piece, ...] = ()
    start_sample: int = 0
    end_sample: int | None = None

    @classmethod
    def of_file(
        cls,
        path: Path,
        *,
        clock: Clock | None,
        is_float: bool = False,
        codec: str = "",
        wav: Wav | None = None,
        raw: RawKind | None = None,
    ) -> Self:
        """A whole file, or the parts of it that are a `wav` as it is meant."""
        if wav is None:
            return cls(path=path, clock=clock, is_float=is_float, codec=codec, raw=raw)
        return cls(demuxer=wav.demuxer, parts=wav.parts(path), clock=clock, is_float=is_float)

    def cut(self, start_sample: int, end_sample: int | None) -> Self:
        """No more than what lies between these samples."""
        ends = [sample for sample in (end_sample, self.end_sample) if sample is not None]
        return replace(self, start_sample=start_sample, end_sample=min(ends, default=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One codec, all its numbers settled.

    `bitrate_bps` None: lossless, or a variable one by `quality`, which is on the encoder's own scale.
    None for `sample_format` is the encoder's own, for `layout` the source's.
    """

    codec: Codec
    sample_rate: int
    channels: int
    bitrate_bps: int | None = None
    sample_format: str | None = None
    quality: float | None = None
    layout: str | None = None

    @property
    def frame_samples(self) -> int:
        return self.codec.samples_per_frame(self.sample_rate)

    def frames_per_segment(self, segment_seconds: float) -> int:
        """Whole frames in a segment, so many that it is never longer than `segment_seconds`; at least one.

        A transport stream counts time in 1/90000 s: by rounding a segment may get one frame more, and has room for it.
        """
        frames = int(segment_seconds * self.sample_rate) // self.frame_samples
        return max(1, frames - 1 if self.codec.segments == "ts" else frames)


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
        **_encoder_options(encoding),
        "format": "hls",
        "ac": encoding.channels,
        "af": _filters(source, encoding, max_seconds),
        "map_metadata": -1,
        "t": f"{max_seconds + 1:g}",
        "hls_time": f"{microseconds}us",
        "hls_list_size": 1,
        "hls_flags": "temp_file+independent_segments",
        "start_number": 1,
        "hls_segment_filename": str(folder / f"segment_%05d{codec.segment_suffix}"),
    }
    if codec.segments == "fmp4":
        options |= {"hls_segment_type": "fmp4", "hls_fmp4_init_filename": "init.mp4", "strict": -2}
    return compiled(program, ffmpeg.output(input_stream(source)["a:0"], "pipe:1", **options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cargo:
    """What goes along with the sound into a file: tags, by ffmpeg's names of where they are, and cover art.

    `known_pictures`: so many there are for sure. Of a file that is growing that may not be known yet.
    """

    tags_from: tuple[str, ...] = ()
    pictures: bool = False
    known_pictures: int = 0


def file_arguments(
    program: str, source: Input, encoding: Encoding, form: Format, cargo: Cargo, *, path: Path, max_seconds: float
) -> list[str]:
    """Write one file to `path`, which doesn't exist yet. Limits as in `hls_arguments`."""
    options: dict[str, object] = {
        **_BITEXACT,
        **form.options,
        **_encoder_options(encoding),
        "format": form.muxer,
        "af": _filters(source, encoding, max_seconds),
        # The times of chapters would be wrong in what is cut out, and a pipe doesn't have all of them.
        "map_chapters": -1,
        "t": f"{max_seconds + 1:g}",
    }
    if form.muxer == "ipod":
        # What the encoder puts before and behind the sound is told to the millisecond otherwise, and may cost a packet.
        options["movie_timescale"] = encoding.sample_rate
    made_of = input_stream(source, pictures=cargo.pictures)
    tracks = [made_of["a:0"]]
    if cargo.pictures:
        # All attached pictures, but no film.
        tracks.append(made_of["v?"])
        options |= {"map": "-0:V?", "vcodec": "copy"}
    argv = compiled(program, ffmpeg.output(*tracks, str(path), **options))
    end = argv.index(str(path))
    return [*argv[:end], *_tag_options(cargo), *argv[end:]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pcm:
    """Raw samples, little-endian and interleaved: `sample_rate` in Hz, `depth_bits` 16 or 24."""

    sample_rate: int
    layout: str
    channels: int
    depth_bits: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.depth_bits // 8

    @property
    def is_float(self) -> bool:
        return False


def pcm_arguments(
    program: str,
    source: Input,
    *,
    track: int,
    pcm: Pcm,
    max_samples: int,
) -> list[str]:
    """Decode one audio track, counted from 0, to raw samples on stdout. It ends after `max_samples`."""
    timed = timing(source, max_samples / pcm.sample_rate)
    options: dict[str, object] = {
        "format": f"s{pcm.depth_bits}le",
        "acodec": f"pcm_s{pcm.depth_bits}le",
        "af": f"{timed}aresample={pcm.sample_rate},aformat=channel_layouts={pcm.layout},atrim=end_sample={max_samples}",
    }
    return compiled(program, ffmpeg.output(input_stream(source)[f"a:{track}"], "pipe:1", **options))


def _tag_options(cargo: Cargo) -> list[str]:
    """Options that are given several times, which ffmpeg-python has no way to say. Of two tags the first counts."""
    if not cargo.tags_from:
        return ["-map_metadata", "-1"]
    words = [word for place in cargo.tags_from for word in ("-map_metadata", place)]
    # A track's own title would take the place of the song's; those of pictures say which side of the cover they are.
    words += ["-map_metadata:s:a:0", "-1"]
    for number in range(cargo.known_pictures):
        words += [f"-map_metadata:s:v:{number}", f"0:s:v:{number}"]
    return words + [word for name in _CONTAINERS_OWN for word in ("-metadata", f"{name}=")]


def compiled(program: str, stream: ffmpeg.nodes.OutputStream) -> list[str]:
    """The argv of a run, with the log and the progress that we read; status lines would hide errors behind them."""
    stream = stream.global_args(
        "-nostdin", "-hide_banner", "-loglevel", _LOG_LEVEL, "-nostats", "-stats_period", "0.25", "-progress", "pipe:2"
    )
    return [str(argument) for argument in stream.compile(cmd=program)]


def _encoder_options(encoding: Encoding) -> dict[str, object]:
    options: dict[str, object] = {"acodec": encoding.codec.encoder, "ar": encoding.sample_rate}
    if encoding.bitrate_bps is not None:
        options["audio_bitrate"] = encoding.bitrate_bps
    if encoding.quality is not None:
        options["q:a"] = f"{encoding.quality:g}"
    if encoding.sample_format is not None:
        options["sample_fmt"] = encoding.sample_format
    if encoding.codec.name == "flac":
        # At 192 kHz and more than 4 channels it takes larger ones by itself, which ffmpeg then can't read.
        options["frame_size"] = encoding.codec.frame_samples
    if encoding.codec.name == "opus" and encoding.channels > _STEREO:
        # Without it libopus's wrapper mixes up the loudspeakers of 5.0 and 6.1.
        options["mapping_family"] = 1
    return options


def timing(source: Input, longest_seconds: float) -> str:
    """What goes before all other filters of an input that has a clock, with a comma behind it."""
    looks = f"{_NUMBERS}," if source.is_float else ""
    return looks if source.clock is None else f"{source.clock.filters(longest_seconds)},{looks}"


def _filters(source: Input, encoding: Encoding, max_seconds: float) -> str:
    start = f"start_sample={source.start_sample}" if source.start_sample else ""
    end = f"end_sample={source.end_sample}" if source.end_sample is not None else ""
    trim = f"atrim={':'.join(filter(None, (start, end)))}," if start or end else ""
    if source.pcm is not None and source.pcm.sample_rate != encoding.sample_rate:
        trim += f"apad=whole_len={_LEAST_SAMPLES},"
    layout = f"aformat=channel_layouts={encoding.layout}," if encoding.layout else ""
    # Times are counted in samples that go to the encoder: those of containers are rounded, or have holes. Behind the
    # resampler a tick is a sample, so N is exact; N/SR/TB, which the manual has, is cut to one tick less now and then.
    return f"{timing(source, max_seconds)}{trim}aresample={encoding.sample_rate},{layout}asetpts=N"


def input_stream(source: Input, *, pictures: bool = False) -> ffmpeg.nodes.FilterableStream:
    """An input behind the whitelists."""
    if source.pcm is not None:
        pcm = source.pcm
        return ffmpeg.input("pipe:0", format=f"s{pcm.depth_bits}le", ar=pcm.sample_rate, ch_layout=pcm.layout)
    options: dict[str, str | None] = {**whitelists("pipe" if source.path is None else "file"), "sn": None, "dn": None}
    if pictures:
        options["codec_whitelist"] = ",".join((*AUDIO_DECODERS, *PICTURE_DECODERS))
    else:
        options["vn"] = None
    if source.demuxer is not None:
        options["format"] = source.demuxer
    if source.raw is not None:
        options |= {"format_whitelist": source.raw.demuxer, **source.raw.options}
    options |= checksums(source.codec)
    if source.clock is not None:
        options["copyts"] = None  # ffmpeg's own idea of when a file begins changes with the tracks that it reads
    return ffmpeg.input("pipe:0" if source.path is None else str(source.path), **options)


def checksums(codec: str) -> dict[str, str]:
    """What makes a decoder drop what its checksum doesn't fit, by the names of the options."""
    # Without it the wrong bits are played, most often as noise. Those of lossy codecs are wrong in files that play.
    return {"err_detect:a": "crccheck+explode"} if codec in _CHECKED else {}


def whitelists(protocols: str) -> dict[str, str]:
    """What an input may be, by the names of the options: protocols, demuxers and decoders."""
    # Without them a "song.mp3" that is really a playlist would make ffmpeg read other files of this machine.
    return {
        "protocol_whitelist": protocols,
        "format_whitelist": ",".join(DEMUXERS),
        "codec_whitelist": ",".join(AUDIO_DECODERS),
    }
