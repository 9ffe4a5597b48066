"""What a training has come to, in one file of its folder."""

import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from training.network import State

FILE = "checkpoint.pt"


@dataclass(slots=True)
class Checkpoint:
    """Weights, their average over time, the optimizer's memory, and how much was done for them.

    `made_with` are the arguments of HTDemucs. `seconds` passed, all its runs together; `audio_seconds` were heard.
    """

    made_with: dict[str, Any]
    seed: int
    model: State
    average: State
    optimizer: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    audio_seconds: float = 0.0


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
    """None where nothing was saved. On the CPU, wherever it was saved from."""
    try:
        fields = torch.load(run / FILE, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    made_with = fields["made_with"] | {"segment": Fraction(fields["made_with"]["segment"])}
    return Checkpoint(**fields | {"made_with": made_with})
