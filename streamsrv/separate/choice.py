"""Which model a song gets that was sent without one: as the settings say, or the best that can be had now. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamsrv.separate.catalog import BUILT_IN, Entry, State

# As a setting: PREFERRED where it can be had, else BUILT_IN.
AUTO = "auto"
PREFERRED = "htdemucs"

IS_COMING = f"{PREFERRED} is being downloaded"
DID_NOT_COME = f"{PREFERRED} could not be downloaded"
DID_NOT_LOAD = f"{PREFERRED} could not be loaded"
IS_UNKNOWN = f"{PREFERRED} isn't in the server's folder of models"

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 60.0, 6 * 3600.0
_LONGER = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """A model by its name, and in words why it is only the built-in one, where a better one was wanted."""

    model: str
    why: str | None = None

    @property
    def reason(self) -> str | None:
        """The same as it is told of a song."""
        return None if self.why is None else f"{self.why}; used the small built-in model"


def choose(wanted: str, entries: Sequence[Entry], *, failed: State | None = None, is_coming: str = IS_COMING) -> Choice:
    """Choose among all models there are. `failed` is the state that a try to have PREFERRED left it in without success.

    `is_coming` says what is with it while it needs a download and none has failed.

    With AUTO, where not even the built-in one can be used, it is PREFERRED: a song says then what is missing.
    """
    if wanted != AUTO:
        return Choice(wanted)
    found = {entry.name: entry for entry in entries}
    why = _what_is_amiss(found.get(PREFERRED), failed, is_coming)
    has_other = BUILT_IN in found and found[BUILT_IN].state == "available"
    return Choice(BUILT_IN, why) if why and has_other else Choice(PREFERRED)


def _what_is_amiss(preferred: Entry | None, failed: State | None, is_coming: str) -> str | None:
    """Say why PREFERRED can't be used now; None where it can."""
    if preferred is None:
        return IS_UNKNOWN
    if preferred.state == "missing":
        return f"{PREFERRED} {preferred.lack}"
    if preferred.state == "needs download":
        return DID_NOT_COME if failed else is_coming
    return DID_NOT_LOAD if failed == "available" else None


def pauses() -> Iterator[float]:
    """How many seconds to wait after each try that failed, for ever."""
    seconds = _FIRST_PAUSE_SECONDS
    while True:
        yield seconds
        seconds = min(seconds * _LONGER, _LONGEST_PAUSE_SECONDS)
