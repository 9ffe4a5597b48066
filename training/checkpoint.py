"""What a training has come to, in one file of its folder."""

import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from training.network import State

FILE = "checkpoint.pt"
# What torch makes of a file that is empty, cut off or something else, and we of one that holds other things.
_DAMAGES = (EOFError, RuntimeError, UnpicklingError, ValueError, LookupError, TypeError, AttributeError)


@dataclass(slots=True)
class Checkpoint:
    """Weights, their average over time, the optimizer's memory, and how much was done for them.

    `made_with` are the arguments of HTDemucs. `seconds` passed, all its runs together; `audio_seconds` were heard.
    `before` are the same three numbers of the training of the model that it began with, if any.
    """

    made_with: dict[str, Any]
    seed: int
    model: State
    average: State
    optimizer: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    audio_seconds: float = 0.0
    before: dict[str, float] = field(default_factory=dict)

    @property
    def done(self) -> dict[str, float]:
        """What was done for the weights in all: `step`, `seconds` and `audio_seconds`."""
        return {name: getattr(self, name) + self.before.get(name, 0) for name in ("step", "seconds", "audio_seconds")}


def save(checkpoint: Checkpoint, run: Path) -> None:
    """Whole or not at all: what was saved before stays until then."""
    made_with = checkpoint.made_with | {"segment": str(checkpoint.made_with["segment"])}
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    partial = run / f"{FILE}.partial"
    with partial.open("wb") as file:
        torch.save(fields | {"made_with": made_with}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(run / FILE)


def load(run: Path) -> Checkpoint | None:
    """None where nothing was saved. On the CPU, wherever it was saved from.

    Raises ValueError for a file that holds none.
    """
    file = run / FILE
    try:
        fields = torch.load(file, map_location="cpu", weights_only=True)
        made_with = fields["made_with"] | {"segment": Fraction(fields["made_with"]["segment"])}
        return Checkpoint(**fields | {"made_with": made_with})
    except FileNotFoundError:
        return None
    except _DAMAGES as error:
        raise ValueError(f"{file} is damaged, or no checkpoint of a training.") from error
