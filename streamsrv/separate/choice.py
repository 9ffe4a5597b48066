"""Which model a song gets that was sent without one: as the settings say, or the best that can be had now. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamsrv.separate.catalog import BUILT_IN, Entry

# As a setting: PREFERRED where it can be had, else BUILT_IN.
AUTO = "auto"
PREFERRED = "htdemucs"

# Where PREFERRED is to be downloaded: what has become of that.
IS_COMING = f"{PREFERRED} is being downloaded"
DID_NOT_COME = f"{PREFERRED} could not be downloaded"

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


def choose(wanted: str, entries: Sequence[Entry], *, download: str) -> Choice:
    """Choose among all models there are. `download` says in words what is with PREFERRED where it must be fetched.

    With AUTO, where not even the built-in one can be used, it is PREFERRED: a song says then what is missing.
    """
    if wanted != AUTO:
        return Choice(wanted)
    states = {entry.name: entry.state for entry in entries}
    if states.get(PREFERRED) == "available" or states.get(BUILT_IN) != "available":
        return Choice(PREFERRED)
    why = {
        None: f"{PREFERRED} isn't in the server's folder of models",
        "missing": f"{PREFERRED} isn't on this server, which may not download it",
        "needs download": download,
    }
    return Choice(BUILT_IN, why[states.get(PREFERRED)])


def pauses() -> Iterator[float]:
    """How many seconds to wait after each download that failed, for ever."""
    seconds = _FIRST_PAUSE_SECONDS
    while True:
        yield seconds
        seconds = min(seconds * _LONGER, _LONGEST_PAUSE_SECONDS)
