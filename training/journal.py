"""What a training run came to so far: lines for people and, in its folder, the same for programs; and its time."""

import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from training.checkpoint import Checkpoint
from training.plan import Plan

FILE = "log.jsonl"
_STEPS_PER_LINE = 20


class Journal:
    """Written to standard output and to a file in the folder of the run; a silent one to neither."""

    def __init__(self, run: Path, done: Checkpoint, *, silent: bool = False) -> None:
        self._file, self._done, self._silent = run / FILE, done, silent
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._since = time.monotonic()

    def say(self, words: str) -> None:
        """To people only."""
        if not self._silent:
            click.echo(words)

    def begun(self, words: str, plan: Plan) -> None:
        """A start, of which there may be several."""
        self.say(words)
        self._keep(begun=words, plan={name: value for name, value in asdict(plan).items() if value is not None})
        self._since = time.monotonic()

    def learnt(self, loss: float, norm: float, rate: float) -> None:
        """One step; each twentieth is a line, with the means of those since the last."""
        self._losses.append(loss)
        self._norms.append(norm)
        if self._done.step % _STEPS_PER_LINE:
            return
        now = time.monotonic()
        self._write(
            loss=round(statistics.fmean(self._losses), 5),
            rate=round(rate, 7),
            seconds_per_step=round((now - self._since) / len(self._losses), 3),
            gradient=round(statistics.fmean(self._norms), 4),
        )
        self._losses, self._norms, self._since = [], [], now

    def checked(self, found: dict[str, float]) -> None:
        """The SDR of each stem, if any was measured."""
        if found:
            self._write(sdr=found)
            self._since = time.monotonic()

    def _write(self, **what: Any) -> None:
        line = self._keep(**what)
        self.say("  ".join(f"{name} {value}" for name, value in line.items()))

    def _keep(self, **what: Any) -> dict[str, Any]:
        line = {"step": self._done.step, "minutes": round(self._done.seconds / 60, 2), **what}
        if not self._silent:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, default=str) + "\n")
        return line


class Clock:
    """Counts the time of a run on, and says when something is due again."""

    def __init__(self, done: Checkpoint) -> None:
        self._done = done
        self._before = done.seconds
        self._began = time.monotonic()
        self._rang: dict[str, float] = {}

    def tick(self) -> None:
        """Bring the run's seconds up to now."""
        self._done.seconds = self._before + time.monotonic() - self._began

    def rings(self, what: str, minutes: float) -> bool:
        """Did so many minutes pass since it did so for that last, or since the start?"""
        now = time.monotonic()
        due = now - self._rang.setdefault(what, self._began) >= minutes * 60
        if due:
            self._rang[what] = now
        return due
