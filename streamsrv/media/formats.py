"""What can be made: one table of codecs, one of file formats."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A codec that can be made.

    `rates` in Hz, empty where any is taken; `frame_samples` above 24 kHz, `low_rate_frame_samples` up to there.
    `depth_bits` is what a lossless one keeps; `layouts` the channel layout for each number of channels, from 1 on,
    None where every layout is taken. `priming_samples` come before the sound; players that read the file's header leave
    them out. `segments` and `rfc6381` are of those that HLS is made in.
    """

    name: str
    encoder: str
    frame_samples: int = 4096
    low_rate_frame_samples: int = 4096
    rates: tuple[int, ...] = ()
    min_bitrate_bps: int = 0
    max_bitrate_bps: int = 0
    max_channels: int = 8
    lossless: bool = False
    depth_bits: int = 0
    is_float: bool = False
    layouts: tuple[str, ...] | None = None
    priming_samples: int = 0
    segments: Literal["ts", "fmp4"] | None = None
    rfc6381: str = ""

    @property
    def is_pcm(self) -> bool:
        return self.name.startswith("pcm_")

    @property
    def segment_suffix(self) -> str:
        return ".ts" if self.segments == "ts" else ".m4s"

    def samples_per_frame(self, sample_rate: int) -> int:
        return self.low_rate_frame_samples if sample_rate <= 24000 else self.frame_samples

    def nearest_rate(self, sample_rate: int) -> int:
        """The source's rate where the codec has it, else the next one, else the largest, of its family if it can be."""
        if not self.rates or sample_rate in self.rates:
            return sample_rate if self.rates else _any_rate(sample_rate, in_tens=self.name == "flac")
        kin = [rate for rate in self.rates if (rate % 11025 == 0) == (sample_rate % 11025 == 0)]
        return next((rate for rate in sorted(self.rates) if rate >= sample_rate), max(kin or self.rates))


MIN_RATE, MAX_RATE = 8000, 655340


def _any_rate(sample_rate: int, *, in_tens: bool) -> int:
    """The source's, or a half of what FLAC can't hold. Below MIN_RATE a frame would be longer than a short segment."""
    rate = -(-sample_rate // -(-sample_rate // MAX_RATE))
    return max(rate - rate % 10 if in_tens and rate > 65535 else rate, MIN_RATE)  # RFC 9639 section 9.1.2


# Sample rates of layer III by the version bits of a frame's header: MPEG 2.5, 2, 1 (ISO/IEC 11172-3, 13818-3).
LAYER3_RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}
_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# What Vorbis, Opus and FLAC mean by so many channels (Vorbis I section 4.3.9, RFC 9639 section 9.1.3).
_XIPH_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
_AAC_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")


def _pcm(encoder: str, depth_bits: int, *, is_float: bool = False) -> Codec:
    return Codec(
        name=encoder,
        encoder=encoder,
        frame_samples=1,
        low_rate_frame_samples=1,
        lossless=True,
        depth_bits=depth_bits,
        is_float=is_float,
    )


CODECS = {
    codec.name: codec
    for codec in (
        Codec(
            name="aac",
            encoder="aac",
            frame_samples=1024,
            low_rate_frame_samples=1024,
            rates=(*_MPEG_RATES, 64000, 88200, 96000),
            min_bitrate_bps=8000,
            max_bitrate_bps=512000,
            layouts=_AAC_LAYOUTS,
            priming_samples=1024,
            segments="ts",
            rfc6381="mp4a.40.2",
        ),
        # MPEG-2 and 2.5 layer III, which the low rates use, have frames of half the length.
        Codec(
            name="mp3",
            encoder="libmp3lame",
            frame_samples=1152,
            low_rate_frame_samples=576,
            rates=_MPEG_RATES,
            min_bitrate_bps=8000,
            max_bitrate_bps=320000,
            max_channels=2,
            priming_samples=1105,  # LAME's 576, and the 529 of every decoder
            segments="ts",
            rfc6381="mp4a.40.34",
        ),
        # Opus always runs at 48 kHz. In TS hls.js refuses it, so it goes into fMP4.
        Codec(
            name="opus",
            encoder="libopus",
            frame_samples=960,
            low_rate_frame_samples=960,
            rates=(48000,),
            min_bitrate_bps=6000,
            max_bitrate_bps=510000,
            # libopus refuses others, 5.1(side) among them.
            layouts=_XIPH_LAYOUTS,
            priming_samples=312,
            segments="fmp4",
            rfc6381="opus",
        ),
        # FLAC in TS is written as private data and plays nowhere, so it goes into fMP4, too.
        Codec(
            name="flac",
            encoder="flac",
            lossless=True,
            depth_bits=24,
            segments="fmp4",
            rfc6381="fLaC",
        ),
        Codec(
            name="vorbis",
            encoder="libvorbis",
            frame_samples=2048,
            low_rate_frame_samples=1024,
            rates=(*_MPEG_RATES, 64000, 88200, 96000, 176400, 192000),
            min_bitrate_bps=16000,
            max_bitrate_bps=500000,
            layouts=_XIPH_LAYOUTS,
        ),
        Codec(name="alac", encoder="alac", lossless=True, depth_bits=24, max_channels=6, layouts=_AAC_LAYOUTS[:6]),
        Codec(name="wavpack", encoder="wavpack", lossless=True, depth_bits=32),
        *(_pcm("pcm_s16le", 16), _pcm("pcm_s24le", 24), _pcm("pcm_s32le", 32), _pcm("pcm_f32le", 24, is_float=True)),
        *(_pcm("pcm_s16be", 16), _pcm("pcm_s24be", 24), _pcm("pcm_s32be", 32)),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A kind of file that can be made: a muxer and what goes into it.

    `codecs` has one, or for PCM one for each depth. `pictures`: it can hold cover art. `options` are the muxer's.
    """

    name: str
    title: str
    codecs: tuple[Codec, ...]
    muxer: str
    suffix: str
    media_type: str
    pictures: bool = False
    options: Mapping[str, object] = field(default_factory=dict)
    max_bytes: int | None = None

    @property
    def codec(self) -> Codec:
        """The one that stands for the format where the depth doesn't matter."""
        return self.codecs[0]

    def codec_for(self, depth_bits: int, *, is_float: bool) -> Codec:
        """The smallest codec that keeps samples of this kind, else the one that keeps most of them."""
        alike = [codec for codec in self.codecs if codec.is_float == is_float] or self.codecs
        return next((codec for codec in alike if codec.depth_bits >= depth_bits), alike[-1])


_PCM_LITTLE = tuple(CODECS[name] for name in ("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le"))
_PCM_BIG = tuple(CODECS[name] for name in ("pcm_s16be", "pcm_s24be", "pcm_s32be"))
_FOUR_GIB = (1 << 32) - 1
_INDEX_FIRST = {"movflags": "+faststart"}

# What conversions make, in the order in which they are listed.
FORMATS = {
    form.name: form
    for form in (
        Format(
            name="mp3",
            title="MP3",
            codecs=(CODECS["mp3"],),
            muxer="mp3",
            suffix=".mp3",
            media_type="audio/mpeg",
            pictures=True,
            # Version 2.3 is what all players read.
            options={"id3v2_version": 3},
        ),
        Format(
            name="wav",
            title="WAV",
            codecs=_PCM_LITTLE,
            muxer="wav",
            suffix=".wav",
            media_type="audio/wav",
            # Beyond 4 GiB it becomes an RF64 (EBU Tech 3306).
            options={"rf64": "auto"},
        ),
        Format(
            name="flac",
            title="FLAC",
            codecs=(CODECS["flac"],),
            muxer="flac",
            suffix=".flac",
            media_type="audio/flac",
            pictures=True,
        ),
        Format(
            name="ogg",
            title="Ogg Vorbis",
            codecs=(CODECS["vorbis"],),
            muxer="ogg",
            suffix=".ogg",
            media_type="audio/ogg",
        ),
        Format(
            name="opus", title="Opus", codecs=(CODECS["opus"],), muxer="opus", suffix=".opus", media_type="audio/ogg"
        ),
        *(
            Format(
                name=name,
                title=title,
                codecs=(CODECS[codec],),
                muxer="ipod",
                suffix=".m4a",
                media_type="audio/mp4",
                pictures=True,
                options=_INDEX_FIRST,
            )
            for name, title, codec in (
                ("m4a", "M4A (AAC)", "aac"),
                ("aac", "AAC (in .m4a)", "aac"),
                ("alac", "Apple Lossless (in .m4a)", "alac"),
            )
        ),
        Format(
            name="aiff",
            title="AIFF",
            codecs=_PCM_BIG,
            muxer="aiff",
            suffix=".aiff",
            media_type="audio/aiff",
            pictures=True,
            options={"write_id3v2": 1},
            max_bytes=_FOUR_GIB,
        ),
        Format(
            name="webm",
            title="WebM (Opus)",
            codecs=(CODECS["opus"],),
            muxer="webm",
            suffix=".webm",
            media_type="audio/webm",
        ),
        Format(
            name="mka",
            title="Matroska (FLAC)",
            codecs=(CODECS["flac"],),
            muxer="matroska",
            suffix=".mka",
            media_type="audio/x-matroska",
        ),
        Format(
            name="wv",
            title="WavPack",
            codecs=(CODECS["wavpack"],),
            muxer="wv",
            suffix=".wv",
            media_type="audio/x-wavpack",
        ),
        Format(
            name="caf",
            title="CAF",
            codecs=_PCM_LITTLE,
            muxer="caf",
            suffix=".caf",
            media_type="audio/x-caf",
        ),
    )
}

MEDIA_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
    ".m4s": "audio/mp4",
    ".mp4": "audio/mp4",
}
