"""One table of what can be read and what can be made."""

from dataclasses import dataclass
from typing import Literal

# Decoders that inputs may open: sound only. Video decoders stay closed, even while probing.
AUDIO_DECODERS = (
    *(
        "aac",
        "aac_latm",
        "ac3",
        "eac3",
        "dca",
        "mp1float",
        "mp1",
        "mp2float",
        "mp2",
        "mp3float",
        "mp3",
        "opus",
        "libopus",
        "vorbis",
    ),
    *("flac", "alac", "ape", "tta", "wavpack", "tak", "truehd", "mlp", "wmav1", "wmav2", "wmapro", "wmalossless"),
    *("amrnb", "amrwb", "gsm", "gsm_ms", "speex", "libspeex", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "g726"),
    *("pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_s64le"),
    *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw", "pcm_bluray", "pcm_dvd"),
    *("dsd_lsbf", "dsd_msbf", "dsd_lsbf_planar", "dsd_msbf_planar", "mpc7", "mpc8"),
)

# Demuxers that inputs may open. None of them reads another file: no playlists, no concat scripts, no devices.
DEMUXERS = (
    *("wav", "w64", "aiff", "au", "caf", "flac", "mp3", "aac", "ac3", "eac3", "dts", "ogg", "mov", "matroska", "asf"),
    *("avi", "flv", "mpegts", "mpeg", "amr", "ape", "tta", "wv", "tak", "dsf", "iff", "mpc", "mpc8", "truehd"),
)


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of input file, told from its first bytes. `pipeable`: it can be decoded from a pipe, in order."""

    name: str
    demuxer: str
    pipeable: bool


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec that streams are made in.

    `rates` in Hz, empty where any is taken; `frame_samples` above 24 kHz, `low_rate_frame_samples` up to there.
    `max_channels` keeps lossy streams playable on every device: more channels are mixed down to it.
    """

    name: str
    encoder: str
    container: Literal["ts", "fmp4"]
    rfc6381: str
    frame_samples: int
    low_rate_frame_samples: int
    rates: tuple[int, ...]
    min_bitrate_bps: int
    max_bitrate_bps: int
    max_channels: int
    lossless: bool = False

    @property
    def segment_suffix(self) -> str:
        return ".ts" if self.container == "ts" else ".m4s"

    def samples_per_frame(self, sample_rate: int) -> int:
        return self.low_rate_frame_samples if sample_rate <= 24000 else self.frame_samples

    def nearest_rate(self, sample_rate: int) -> int:
        """The source's rate where the codec has it, else the smallest one above, else the largest of its family."""
        if not self.rates:
            # Below, a frame would be longer than a short segment; above is more than FLAC can hold.
            return min(max(sample_rate, 8000), 655350)
        if sample_rate in self.rates:
            return sample_rate
        family = 44100 if sample_rate % 11025 == 0 else 48000
        return next((rate for rate in sorted(self.rates) if rate >= sample_rate), family)


# Sample rates of layer III by the version bits of a frame's header: MPEG 2.5, 2, 1 (ISO/IEC 11172-3, 13818-3).
LAYER3_RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}
_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

CODECS = {
    codec.name: codec
    for codec in (
        Codec("aac", "aac", "ts", "mp4a.40.2", 1024, 1024, (*_MPEG_RATES, 64000, 88200, 96000), 8000, 512000, 2),
        # MPEG-2 and 2.5 layer III, which the low rates use, have frames of half the length.
        Codec("mp3", "libmp3lame", "ts", "mp4a.40.34", 1152, 576, _MPEG_RATES, 8000, 320000, 2),
        # Opus always runs at 48 kHz. In TS hls.js refuses it, so it goes into fMP4.
        Codec("opus", "libopus", "fmp4", "opus", 960, 960, (48000,), 6000, 510000, 2),
        # FLAC in TS is written as private data and plays nowhere, so it goes into fMP4, too.
        Codec("flac", "flac", "fmp4", "fLaC", 4096, 4096, (), 0, 0, 8, lossless=True),
    )
}

MEDIA_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
    ".m4s": "audio/mp4",
    ".mp4": "audio/mp4",
}
