"""`python -m training.train SONGS --out RUN`: train the model on a folder of songs, or go on where RUN stopped."""

import math
import os
import signal
import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from demucs.apply import apply_model

from training.checkpoint import Checkpoint, load, save
from training.company import ALONE, Company, company
from training.dataset import Batches
from training.export import done_for
from training.journal import Clock, Journal
from training.loss import LOSSES
from training.measures import sdr
from training.network import (
    SHAPES,
    arguments,
    averaged,
    build,
    copied,
    pick_device,
    pick_precision,
    set_up_cpu,
    weights_of,
)
from training.options import SEED, FiniteRange, Segment, told
from training.plan import Plan
from training.songs.score import RATE, STEMS
from training.soundfiles import list_songs, open_song, read_song

_MOST_HELD_OUT = 6
# Processes that train together draw as if they were trainings of seeds so far from each other.
_SEEDS_APART = 1_000_003


class Learner:
    """A model while it learns, by itself or `together` with others. Whatever it knows is in `checkpoint`."""

    def __init__(self, plan: Plan, checkpoint: Checkpoint, together: Company = ALONE) -> None:
        self._plan, self.checkpoint, self.together = plan, checkpoint, together
        self._device = pick_device(plan.device)
        self._dtype = pick_precision(plan.precision, self._device)
        self._model = build(checkpoint.made_with, checkpoint.seed).to(self._device)
        self._model.load_state_dict(checkpoint.model)
        # These are the model's own from here on: what it learns is in the checkpoint.
        checkpoint.model = self._model.state_dict()
        checkpoint.average = {name: weight.to(self._device) for name, weight in checkpoint.average.items()}
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=plan.learning_rate, fused=True)
        if checkpoint.optimizer:
            self._optimizer.load_state_dict(checkpoint.optimizer)

    def __str__(self) -> str:
        """In words, for the log."""
        weights = sum(weight.numel() for weight in self._model.parameters())
        return f"{weights / 1e6:.2f} million weights, {self._device}, {str(self._dtype).removeprefix('torch.')}"

    def learn(self, pieces: np.ndarray, rate: float) -> tuple[float, float]:
        """A step with pieces [piece, stem, channel, sample]: the loss before it, and the norm of its gradient.

        A gradient that isn't finite is left out: one would spoil all weights.
        """
        stems = torch.from_numpy(pieces).to(self._device)
        self._model.train()
        with self._computing():
            estimate = self._model(stems.sum(1))
        loss = LOSSES[self._plan.loss](estimate.float(), stems)
        loss.backward()  # type: ignore[no-untyped-call]
        self.together.share_gradients(self._model.parameters())
        norm = float(torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._plan.clip))
        if math.isfinite(norm):
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
            averaged(self.checkpoint.average, self._model, self.checkpoint.step)
        self._optimizer.zero_grad()
        self.checkpoint.step += 1
        self.checkpoint.audio_seconds += self.together.size * pieces.shape[0] * pieces.shape[-1] / RATE
        return float(loss.detach()), norm

    def check(self, songs: Sequence[Path]) -> dict[str, float]:
        """The SDR of each stem in dB, the mean over whole songs, with the average of the weights."""
        learnt = copied(self._model.state_dict())
        self._model.load_state_dict(self.checkpoint.average)
        self._model.eval()
        try:
            found = [self._measured(read_song(song)) for song in songs]
        finally:
            self._model.load_state_dict(learnt)
        means = {stem: statistics.fmean(values) for stem, *values in zip(STEMS, *found, strict=True)}
        return {stem: round(value, 2) for stem, value in (means | {"mean": statistics.fmean(means.values())}).items()}

    def save(self) -> None:
        """Into the folder of the run."""
        self.checkpoint.optimizer = self._optimizer.state_dict()
        save(self.checkpoint, self._plan.out)

    def _measured(self, stems: np.ndarray) -> list[float]:
        mix = torch.from_numpy(stems.sum(0))[None]
        with torch.inference_mode(), self._computing():
            estimate = apply_model(self._model, mix, shifts=0, device=self._device)[0].float().cpu().numpy()
        return [sdr(true, estimated) for true, estimated in zip(stems, estimate, strict=True)]

    def _computing(self) -> torch.autocast:
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)


def train(plan: Plan, stop: threading.Event, together: Company = ALONE) -> Checkpoint:
    """Train until the plan's end or `stop`, and save what came of it; also where something goes wrong meanwhile.

    Raises ValueError for a run that was begun with another shape, segment or seed, and for what can't be read.
    """
    for song in _held_out(plan):
        open_song(song)
    plan.out.mkdir(parents=True, exist_ok=True)
    learner = Learner(plan, _begun(plan), together)
    done = learner.checkpoint
    journal = Journal(plan.out, done, silent=not together.leads)
    samples, seed = int(plan.segment * RATE), plan.seed + together.rank * _SEEDS_APART
    with Batches(plan.songs, seed, batch=plan.batch, samples=samples, first_step=done.step) as batches:
        journal.begun(f"{learner}; {batches.songs} songs; from step {done.step}", plan)
        try:
            stopped = _go_through(batches, plan, stop, learner, journal)
        finally:
            if together.leads:
                learner.save()
    if together.leads:
        journal.checked({} if stopped else _checked(plan, learner))
    journal.say(f"stopped at step {done.step}, after {done.seconds / 60:.1f} minutes")
    return done


def _go_through(batches: Batches, plan: Plan, stop: threading.Event, learner: Learner, journal: Journal) -> bool:
    """Learn from one after the other until the plan's end; or until `stop`, which is told."""
    done, together = learner.checkpoint, learner.together
    clock = Clock(done)
    for pieces in batches:
        clock.tick()
        done.seconds, stopped = together.agreed(done.seconds, stop.is_set())
        if stopped or plan.progress(done.step, done.seconds) >= 1:
            break
        rate = plan.rate(done.step, done.seconds)
        journal.learnt(*learner.learn(pieces, rate), rate)
        if together.leads:
            _look_after(plan, learner, journal, clock)
    return bool(stopped)


def _look_after(plan: Plan, learner: Learner, journal: Journal, clock: Clock) -> None:
    """Measure and save, each when its time has come."""
    if clock.rings("check", plan.minutes_per_check):
        journal.checked(_checked(plan, learner))
    if clock.rings("checkpoint", plan.minutes_per_checkpoint):
        learner.save()


def _begun(plan: Plan) -> Checkpoint:
    made_with = arguments(plan.shape, plan.segment)
    begun = load(plan.out)
    if begun is None:
        return _new(plan, made_with)
    if (begun.made_with, begun.seed) != (made_with, plan.seed):
        raise ValueError(f"{plan.out} was begun with another shape, segment or seed: {begun.made_with}, {begun.seed}")
    return begun


def _new(plan: Plan, made_with: dict[str, Any]) -> Checkpoint:
    if plan.begin_with is None:
        weights = build(made_with, plan.seed).state_dict()
        return Checkpoint(made_with, plan.seed, weights, copied(weights))
    weights = weights_of(plan.begin_with, made_with)
    return Checkpoint(made_with, plan.seed, weights, copied(weights), before=done_for(plan.begin_with))


def _held_out(plan: Plan) -> tuple[Path, ...]:
    return list_songs(plan.held_out)[:_MOST_HELD_OUT] if plan.held_out else ()


def _checked(plan: Plan, learner: Learner) -> dict[str, float]:
    songs = _held_out(plan)
    return learner.check(songs) if songs else {}


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Set by SIGTERM and SIGINT: the step that runs is finished."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command(context_settings={"show_default": True})
@click.argument("songs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder of the run.")
@click.option("--steps", type=click.IntRange(1), help="End after so many.")
@click.option(
    "--time-limit",
    "minutes",
    type=FiniteRange(0, min_open=True),
    help="End after so many minutes, all starts of a run together.",
)
@click.option("--batch", type=click.IntRange(1), default=4, help="Pieces per step.")
@click.option("--segment", type=Segment(), default="4", help="Of a piece, and of the model's windows.")
@click.option("--shape", type=click.Choice(list(SHAPES)), default="c24", help="Of the network.")
@click.option("--loss", type=click.Choice(list(LOSSES)), default="ratio", help="What is made small.")
@click.option(
    "--begin-with",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A model of the same shape, NAME.safetensors, to learn on from; else from nothing.",
)
@click.option("--seed", type=SEED, default=1, help="Of the first weights and of all batches.")
@click.option("--learning-rate", type=FiniteRange(0), default=1e-3, help="The highest.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="What computes.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto")
@click.option(
    "--threads", type=click.IntRange(1), default=lambda: os.cpu_count() or 1, show_default="all", help="Of the CPU."
)
@click.option(
    "--held-out", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Songs to measure with."
)
@click.option("--minutes-per-check", type=FiniteRange(0), default=15.0, help="How often these are separated.")
def main(**plan: Any) -> None:
    """Train on the songs NAME.npy in SONGS. SIGTERM or Ctrl-C saves and stops; the same command goes on from there."""
    if not plan["steps"] and not plan["minutes"]:
        raise click.UsageError("Say when to end: --steps, --time-limit or both.")
    set_up_cpu(plan["threads"])
    with _stopped_by_signals() as stop, company() as together, told():
        train(Plan(**plan), stop, together)


if __name__ == "__main__":
    main()
