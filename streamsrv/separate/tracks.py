"""What comes out of a song: its stems, and mixes of them. Pure."""

import itertools
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Clip = Literal["clamp", "tanh", "none"]
Samples = NDArray[np.float32]

INSTRUMENTAL = "instrumental"
ALIASES = {"base": "bass"}

_VOCALS = "vocals"
# The order in which people look for them; what a model has besides comes behind.
_ORDER = (_VOCALS, "drums", "bass", "guitar", "piano", "other")
# Where demucs's own "clamp" cuts (demucs.audio.prevent_clip).
_CLAMP = 0.99
_FULL_SCALE = 32767
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Mixdown:
    """How the stems of a model become tracks. `sources` are the model's, in its order."""

    def __init__(self, sources: Sequence[str]) -> None:
        known = [name for name in _ORDER if name in sources]
        stems = [*known, *(name for name in sources if name not in known)]
        self._rows = [sources.index(name) for name in stems]
        stems = _address_names(stems)
        self._vocals = sources.index(_VOCALS) if _VOCALS in sources and len(sources) > 1 else None
        self.names = tuple(stems) if self._vocals is None else (*stems, INSTRUMENTAL)

    def tracks(self, stems: Samples) -> Samples:
        """Stems float32 [source, channel, sample] become tracks [track, channel, sample]: all but vocals go last."""
        if self._vocals is None:
            return stems[self._rows]
        others = [row for row in range(len(stems)) if row != self._vocals]
        return np.concatenate((stems[self._rows], stems[others].sum(axis=0, keepdims=True)))


def to_pcm(samples: Samples, clip: Clip) -> bytes:
    """Float samples [channel, sample] as interleaved 16-bit ones."""
    if clip == "tanh":
        samples = np.tanh(samples)
    else:
        limit = _CLAMP if clip == "clamp" else 1.0
        samples = np.clip(samples, -limit, limit)
    return np.rint(samples.T * _FULL_SCALE).astype("<i2").tobytes()


def _address_names(names: Sequence[str]) -> list[str]:
    """The names, where they can be a part of an address; models of one's own may have any, and get others for them."""
    others = (name for number in itertools.count() if (name := f"stem{number}") not in names)
    return [name if _NAME.fullmatch(name) and name != INSTRUMENTAL else next(others) for name in names]
