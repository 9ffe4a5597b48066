"""What crosses between the server and a child that separates: which model, what it is like, where windows lie. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model by its name: from the folder `repo`, or else from Demucs's hub and its caches on this machine.

    What isn't on this machine is fetched only with `download`.
    """

    name: str
    repo: Path | None
    download: bool
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Models of a bag, by number, that see the same windows; `segment` and `margin` are in samples.

    A window may need up to `margin` samples of context on either side. With `fixed` a short one is padded to the
    segment, out of the song's own samples around it; else it goes in as it is.
    """

    models: tuple[int, ...]
    segment: int
    margin: int
    fixed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a loaded model is like. `sample_rate` is in Hz; stems come in the order of `sources`."""

    name: str
    sources: tuple[str, ...]
    sample_rate: int
    channels: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Where a window lies in its piece: behind `left` samples of context, `length` long; the rest is context, too."""

    left: int
    length: int


@dataclass(frozen=True, slots=True)
class WindowReport:
    """Where windows were separated, in how many seconds, and in how many the model was loaded before (mostly 0)."""

    device: str
    seconds: float
    loaded_seconds: float
