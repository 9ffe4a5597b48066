"""What a training is asked for: on which songs, with which model, for how long and how fast."""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. It ends after `steps` or `minutes`, whichever is first; the learning rate falls to 0 until then."""

    songs: Path
    out: Path
    steps: int | None = None
    minutes: float | None = None
    batch: int = 4
    segment: Fraction = Fraction(4)
    shape: str = "c24"
    loss: str = "ratio"
    begin_with: Path | None = None
    seed: int = 1
    learning_rate: float = 1e-3
    warmup: int = 50
    clip: float = 5.0
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    held_out: Path | None = None
    minutes_per_check: float = 15.0
    minutes_per_checkpoint: float = 5.0

    def progress(self, step: int, seconds: float) -> float:
        """From 0 to 1, the end."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / 60 / self.minutes if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def rate(self, step: int, seconds: float) -> float:
        """The learning rate of a step: up in a line, down as half a cosine."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.learning_rate * rise * (1 + math.cos(math.pi * self.progress(step, seconds))) / 2
