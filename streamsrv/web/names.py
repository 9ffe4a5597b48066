"""Which name was meant, where one that isn't known looks like one that is. Pure."""

from collections.abc import Sequence
from difflib import get_close_matches

# Longer names are no slips of a finger, and to compare them takes long.
_MOST_CHARACTERS = 80


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A question with a space before it, or nothing."""
    if len(name) > _MOST_CHARACTERS:
        return ""
    spelt = {each.lower().replace("-", "_"): each for each in known}
    near = get_close_matches(name.lower().replace("-", "_"), spelt, n=1, cutoff=0.7)
    return f" Did you mean {spelt[near[0]]!r}?" if near else ""
