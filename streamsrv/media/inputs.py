"""What can be read: all that an input may make ffmpeg open."""

from dataclasses import dataclass

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

# Cover art goes along as it is; these only tell its size.
PICTURE_DECODERS = ("mjpeg", "png")

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
