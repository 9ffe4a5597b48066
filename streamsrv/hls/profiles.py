"""Quality profiles, and how options and a source settle every number of an encoding. Pure."""

from dataclasses import dataclass

from streamsrv.encoding.options import EncodingOptions, Sound, codec_encoding
from streamsrv.errors import BadParameter
from streamsrv.media.arguments import Encoding
from streamsrv.media.formats import CODECS


@dataclass(frozen=True, slots=True)
class Profile:
    """A codec with its bit rate in bits per second; None: lossless."""

    codec: str
    bitrate_bps: int | None


PROFILES = {
    "hi_res": Profile("flac", None),
    "high": Profile("aac", 256_000),
    "medium": Profile("aac", 160_000),
    "low": Profile("aac", 96_000),
}
DEFAULT_PROFILE = "high"

# Keeps lossy streams playable on every device: more channels are mixed down to these.
_LOSSY_CHANNELS = 2


def choose(quality_profile: str | None, codec: str | None, bitrate_bps: int | None) -> Profile:
    """The profile, with what codec and bit rate override of it. BadParameter where the three don't go together."""
    profile = PROFILES[quality_profile or DEFAULT_PROFILE]
    chosen = CODECS[codec or profile.codec]
    if chosen.lossless:
        if bitrate_bps is not None:
            raise BadParameter(f"{chosen.name} is lossless and takes no bitrate.")
        return Profile(chosen.name, None)
    bitrate = bitrate_bps or profile.bitrate_bps or PROFILES[DEFAULT_PROFILE].bitrate_bps or 0
    if not chosen.min_bitrate_bps <= bitrate <= chosen.max_bitrate_bps:
        raise BadParameter(
            f"bitrate for {chosen.name} must be between {chosen.min_bitrate_bps} and {chosen.max_bitrate_bps}"
            " bits per second."
        )
    return Profile(chosen.name, bitrate)


def stream_encoding(profile: Profile, source: Sound) -> Encoding:
    """Keep the source's rate and channels where the codec can; FLAC keeps the depth, too (16 or 24 bit)."""
    codec = CODECS[profile.codec]
    channels = None if codec.lossless else min(source.channels, _LOSSY_CHANNELS)
    return codec_encoding(codec, EncodingOptions(bitrate_bps=profile.bitrate_bps, channels=channels), source)
