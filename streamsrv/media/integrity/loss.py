"""Sound that a file should have and hasn't: told, or put up with where that was asked for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streamsrv.errors import DamagedFile
from streamsrv.media.cut import WHOLE, Cut
from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.integrity.structure import NO_DAMAGE, Damage
from streamsrv.media.sizes import is_promise

_CUT_SHORT = ("File ended prematurely", "Truncating packet", ": partial file", "Packet corrupt")
_TOLERATE = "With errors=tolerate you get what there is."
# What is lost with a last packet where nobody knows how long it was.
_PACKET_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Terms:
    """On which a file is taken. `tolerates`: what is there will do; `missing_share` of its bytes isn't then."""

    tolerates: bool = False
    missing_share: float = 0.0


STRICT = Terms()
TOLERANT = Terms(tolerates=True)
# The names that clients give them.
ErrorsName = Literal["strict", "tolerate"]
TERMS: Mapping[str, Terms] = {"strict": STRICT, "tolerate": TOLERANT}


@dataclass(frozen=True, slots=True)
class Loss:
    """So many seconds, more or less; `words` say where, for people."""

    seconds: float
    words: str


def check_loss(
    outcome: Outcome,
    *,
    declared: Declared | None = None,
    cut: Cut = WHOLE,
    damage: Damage = NO_DAMAGE,
    terms: Terms = STRICT,
) -> float:
    """How many seconds of the cut are lost: 0 unless these `terms` tolerate it. Raises DamagedFile elsewhere."""
    loss = find_loss(outcome, declared=declared, cut=cut, damage=damage, missing_share=terms.missing_share)
    if loss is None:
        return 0.0
    if not terms.tolerates:
        raise damaged(loss.words, loss.seconds)
    return loss.seconds


def find_loss(
    outcome: Outcome, *, declared: Declared | None, cut: Cut, damage: Damage, missing_share: float
) -> Loss | None:
    """What is lost of the cut; None where nothing is."""
    heard = outcome.heard_seconds
    middle = damage.seconds if damage.is_heard else 0.0
    short, words = 0.0, ""
    if cut.end_seconds is None or heard < cut.end_seconds:
        short, words = _find_end(outcome, declared, missing_share)
    if middle and 2 * middle >= short:
        lost = max(middle, short)
        words = (
            f"The file is several recordings, joined. Only the first can be read: about {clock(lost)} are missing."
            if damage.is_joined
            else f"Sound is missing in the middle of the file, about {clock(lost)}."
        )
        return Loss(lost, words)
    return Loss(short, words) if words else None


def _find_end(outcome: Outcome, declared: Declared | None, missing_share: float) -> tuple[float, str]:
    """How much is missing at the end, and that in words; "" where nothing is."""
    heard = outcome.heard_seconds
    if declared is not None and heard < declared.seconds - declared.tolerance_seconds:
        short = declared.seconds - heard
        return short, (
            f"The file ends in the middle: of the {clock(declared.seconds)} of sound that it promises,"
            f" {clock(short)} are missing."
        )
    words = f"The file ends in the middle, after {clock(heard)} of sound."
    if missing_share:
        return heard * missing_share / (1 - missing_share), words
    if any(sign in line for sign in _CUT_SHORT for line in outcome.errors):
        return _PACKET_SECONDS, words
    return 0.0, ""


def check_size(promised_bytes: int | None, actual_bytes: int, terms: Terms = STRICT) -> Terms:
    """The file is as long as it says itself, if that can be true; gives the terms that fit it. Raises DamagedFile."""
    if promised_bytes is None or actual_bytes >= promised_bytes or not is_promise(promised_bytes, actual_bytes):
        return terms
    missing = promised_bytes - actual_bytes
    if not terms.tolerates:
        raise damaged(f"The file ends in the middle: {missing} of {promised_bytes} bytes are missing.")
    return Terms(tolerates=True, missing_share=missing / promised_bytes)


def damaged(words: str, lost_seconds: float | None = None) -> DamagedFile:
    """Where sound is missing, and that one may have the rest."""
    members = {} if lost_seconds is None else {"lost_seconds": round(lost_seconds, 3)}
    return DamagedFile(f"{words} {_TOLERATE}", members=members)


def clock(seconds: float) -> str:
    """3723.4 -> "1:02:03"; 75.3 -> "1:15"; 7.04 -> "7.0 s"; 0.017 -> "0.017 s"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2g} s"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
