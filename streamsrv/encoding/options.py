"""How what was asked for and what there is settle every number of an encoding. Pure."""

from dataclasses import dataclass
from typing import Protocol

from streamsrv.errors import BadParameter
from streamsrv.media.arguments import Encoding
from streamsrv.media.formats import MAX_RATE, MIN_RATE, Codec, Format

QUALITIES = ("low", "medium", "high", "best")
DEFAULT_QUALITY = "high"

# Encoders with a scale of their own, on which sound that is hard to encode gets more bits.
_SCALES = {
    "mp3": {"low": 6.0, "medium": 4.0, "high": 2.0, "best": 0.0},
    "vorbis": {"low": 2.0, "medium": 4.0, "high": 6.0, "best": 9.0},
}
# The others, in bits per second for two channels.
_STEREO_BITRATES = {
    "aac": {"low": 96_000, "medium": 128_000, "high": 192_000, "best": 256_000},
    "opus": {"low": 64_000, "medium": 96_000, "high": 128_000, "best": 192_000},
}
# An AAC frame holds at most so many bits per channel (ISO/IEC 13818-7, section 8.2.2.3).
_AAC_FRAME_BITS = 6144
# libopus takes at most so much per channel.
_OPUS_CHANNEL_BPS = 256_000
# Lossless encoders that take several: for up to 16 bits, and for more.
_SAMPLE_FORMATS = {"flac": ("s16", "s32"), "alac": ("s16p", "s32p"), "wavpack": ("s16p", "s32p")}
# What is meant by so many channels where the codec doesn't say.
_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingOptions:
    """How it is to sound. None is what wasn't asked for: the source, the format or a default decides."""

    bitrate_bps: int | None = None
    quality: str | None = None
    sample_rate: int | None = None
    channels: int | None = None


class Sound(Protocol):
    """What is to be encoded: rate in Hz, channels, depth in bits; `is_float`: samples may go beyond full scale."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def depth_bits(self) -> int: ...

    @property
    def is_float(self) -> bool: ...


def takes_quality(form: Format) -> bool:
    return form.codec.name in _SCALES or form.codec.name in _STEREO_BITRATES


def check_options(options: EncodingOptions, form: Format | None) -> None:
    """Raise BadParameter where options don't go together, or the format, if it is known, can't have them."""
    if options.bitrate_bps is not None and options.quality is not None:
        raise BadParameter("Give either bitrate or quality, not both.")
    if form is not None:
        _check_strength(form, options)
        _check_sound(form, options)


def encoding_for(form: Format, options: EncodingOptions, source: Sound) -> Encoding:
    """Keep the source's depth, rate and channels where nothing else was asked for and the format can hold them."""
    return codec_encoding(form.codec_for(source.depth_bits, is_float=source.is_float), options, source)


def codec_encoding(codec: Codec, options: EncodingOptions, source: Sound) -> Encoding:
    """The same for a codec that is settled, as that of a stream is."""
    rate = options.sample_rate or codec.nearest_rate(source.sample_rate)
    channels = min(options.channels or source.channels, codec.max_channels)
    by_scale = codec.name in _SCALES and options.bitrate_bps is None
    return Encoding(
        codec=codec,
        sample_rate=rate,
        channels=channels,
        bitrate_bps=None if codec.lossless or by_scale else _bitrate(codec, options, rate, channels),
        sample_format=_sample_format(codec, source),
        quality=_SCALES[codec.name][options.quality or DEFAULT_QUALITY] if by_scale else None,
        layout=_layout(codec, source, channels),
    )


def _check_strength(form: Format, options: EncodingOptions) -> None:
    codec, bitrate = form.codec, options.bitrate_bps
    if codec.lossless and (bitrate is not None or options.quality is not None):
        raise BadParameter(f"{form.title} is lossless and takes neither bitrate nor quality.")
    if bitrate is not None and not codec.min_bitrate_bps <= bitrate <= codec.max_bitrate_bps:
        raise BadParameter(
            f"bitrate for {form.title} must be between {codec.min_bitrate_bps} and {codec.max_bitrate_bps}"
            " bits per second."
        )


def _check_sound(form: Format, options: EncodingOptions) -> None:
    codec, rate = form.codec, options.sample_rate
    if options.channels is not None and options.channels > codec.max_channels:
        raise BadParameter(f"{form.title} takes {codec.max_channels} channels at most.")
    if rate is not None and codec.rates and rate not in codec.rates:
        known = ", ".join(str(rate) for rate in sorted(codec.rates))
        raise BadParameter(f"sample_rate for {form.title} must be one of {known}.")
    if rate is not None and not MIN_RATE <= rate <= MAX_RATE:
        raise BadParameter(f"sample_rate must be between {MIN_RATE} and {MAX_RATE} Hz.")


def _bitrate(codec: Codec, options: EncodingOptions, rate: int, channels: int) -> int:
    stereo = _STEREO_BITRATES.get(codec.name, {}).get(options.quality or DEFAULT_QUALITY, 0)
    bitrate = options.bitrate_bps or stereo * channels // 2
    if codec.name == "opus":
        return min(bitrate, _OPUS_CHANNEL_BPS * channels)
    return min(bitrate, _AAC_FRAME_BITS * channels * rate // 1024) if codec.name == "aac" else bitrate


def _sample_format(codec: Codec, source: Sound) -> str | None:
    if codec.name == "wavpack" and source.is_float:
        return "fltp"
    return _SAMPLE_FORMATS[codec.name][source.depth_bits > 16] if codec.name in _SAMPLE_FORMATS else None


def _layout(codec: Codec, source: Sound, channels: int) -> str | None:
    if codec.layouts is None and channels == source.channels:
        return None
    return (codec.layouts or _LAYOUTS)[channels - 1]
