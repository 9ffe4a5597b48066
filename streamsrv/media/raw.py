"""Kinds of files whose bytes don't tell what they are: the name's suffix does, where it is one kind's alone. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from streamsrv.errors import UnusableFile


@dataclass(frozen=True, slots=True)
class RawKind:
    """What ffmpeg's `demuxer` reads; of bare samples it must be told `sample_rate`, in Hz.

    `is_foreign`: a large library of others reads it, and only where a sandbox walls that in.
    """

    demuxer: str
    sample_rate: int | None = None
    is_foreign: bool = False

    @property
    def options(self) -> dict[str, str]:
        """What ffmpeg is told of the input."""
        rate = {} if self.sample_rate is None else {"sample_rate": str(self.sample_rate)}
        return {"f": self.demuxer, **rate}


# Of trackers' modules the common ones; their libraries are rarely looked at, and their bytes are programs for them.
_MODULES = ("669", "far", "it", "med", "mod", "mptm", "mtm", "okt", "ptm", "s3m", "stm", "ult", "umx", "xm")
# Telephones' kinds have the telephone's rate.
_TELEPHONE_HZ = 8000
_ALAW, _MULAW = RawKind("alaw", _TELEPHONE_HZ), RawKind("mulaw", _TELEPHONE_HZ)
_KINDS: Mapping[str, RawKind] = {
    "g722": RawKind("g722"),
    "722": RawKind("g722"),
    "g723": RawKind("g723_1"),
    "g723_1": RawKind("g723_1"),
    "g7231": RawKind("g723_1"),
    "tco": RawKind("g723_1"),
    "rco": RawKind("g723_1"),
    "g729": RawKind("g729"),
    "al": _ALAW,
    "alaw": _ALAW,
    "pcma": _ALAW,
    "ul": _MULAW,
    "ulaw": _MULAW,
    "mulaw": _MULAW,
    "pcmu": _MULAW,
    "sbc": RawKind("sbc"),
    "msbc": RawKind("sbc"),
    "dfpwm": RawKind("dfpwm"),
    # Asterisk's names.
    "sln": RawKind("sln", _TELEPHONE_HZ),
    **{f"sln{rate}": RawKind("sln", rate * 1000) for rate in (8, 12, 16, 24, 32, 48, 96, 192)},
    "sln44": RawKind("sln", 44100),
    **dict.fromkeys(_MODULES, RawKind("libopenmpt", is_foreign=True)),
}
# Suffixes of bare samples of any rate, depth and order.
_BARE = re.compile(r"raw|pcm|[suf](8|16|24|32|64)(le|be)?|aptx(hd|_hd)?|g726(le)?")
# What is found by chance in bytes that say nothing; ffprobe's scores go up to 100.
_LEAST_SCORE = 26
_BARE_WORDS = (
    "Nothing in this file says how it is to be read: it has no header with its sample rate and channels."
    " Put it into a WAV, e.g.: ffmpeg -f s16le -ar 44100 -ac 2 -i song.pcm song.wav"
)


def raw_kind(name: str) -> RawKind | None:
    """The kind that a file's name stands for, if its bytes don't tell."""
    return _KINDS.get(_suffix(name))


def kind_here(name: str, *, sandboxed: bool) -> RawKind | None:
    """The same, where it may be read. Raises UnusableFile where it may not for want of a sandbox."""
    kind = raw_kind(name)
    if kind is not None and kind.is_foreign and not sandboxed:
        raise UnusableFile("Modules of trackers are read only where decoders are walled in, which they aren't here.")
    return kind


def is_told(score: int) -> bool:
    """Is what ffprobe took a file for, with that score, more than chance?"""
    return score >= _LEAST_SCORE


def headerless_words(name: str) -> str | None:
    """Why a file of that name can't be read, where that is for want of a header."""
    return _BARE_WORDS if _BARE.fullmatch(_suffix(name)) else None


def _suffix(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""
