"""A training of very short pieces: it learns, stops, goes on, and becomes a file."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from demucs.hf import load_safetensors_model
from safetensors import safe_open

from training import export as exporting
from training import train as training
from training.checkpoint import FILE as CHECKPOINT
from training.checkpoint import Checkpoint, load
from training.journal import FILE as LOG
from training.network import arguments, build, copied
from training.plan import Plan
from training.songs.score import RATE
from training.train import Learner, train

ROOT = Path(__file__).resolve().parents[2]
SEGMENT = Fraction(1, 5)


class StopAt(threading.Event):
    """Set when it was asked so often."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._left = step

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Where the processors are busy, several threads wait for each other for longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    folder = tmp_path / "songs"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for name in "ab":
        np.save(folder / f"{name}.npy", rng.integers(-8000, 8000, (4, 2, 20_000), np.int16))
    return folder


def plan(songs: Path, out: Path, **options: object) -> Plan:
    options = {"steps": 4, "batch": 1, "segment": SEGMENT, "precision": "float32", "device": "cpu", **options}
    return Plan(songs, out, **options)


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / LOG).read_text().splitlines()]


def test_the_learning_rate_ends_at_nothing() -> None:
    """It rises over the first steps and falls to 0 by whichever end is nearer."""
    by_steps = Plan(Path(), Path(), steps=1000, learning_rate=1.0, warmup=10)
    rates = [by_steps.rate(step, 0) for step in range(1001)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1, abs=0.001)
    assert rates[500] == pytest.approx(0.5)
    assert rates[-1] == 0
    by_time = Plan(Path(), Path(), steps=1000, minutes=2, learning_rate=1.0)
    assert by_time.rate(100, 60) == pytest.approx(0.5)
    assert by_time.rate(100, 120) == 0


def test_it_goes_on_where_it_stopped(songs: Path, tmp_path: Path) -> None:
    """Stopped and started again, it comes to the weights that it comes to in one go."""
    whole = train(plan(songs, tmp_path / "whole"), threading.Event())
    stopped = train(plan(songs, tmp_path / "parts"), StopAt(2))
    assert stopped.step == 2
    done = train(plan(songs, tmp_path / "parts"), threading.Event())
    assert done.step == whole.step == 4
    assert done.audio_seconds == pytest.approx(4 * SEGMENT)
    for name, weight in whole.average.items():
        assert torch.allclose(weight, done.average[name], atol=1e-6), name
        assert torch.allclose(whole.model[name], done.model[name], atol=1e-5), name


def test_it_learns(tmp_path: Path) -> None:
    """Of four tones, which it hears again and again, it tells one from the other better and better."""
    made_with = arguments("c24", SEGMENT)
    weights = build(made_with, 1).state_dict()
    learner = Learner(plan(tmp_path, tmp_path), Checkpoint(made_with, 1, weights, copied(weights)))
    angle = 2 * np.pi * np.arange(int(SEGMENT * RATE)) / RATE
    tones = 0.2 * np.sin(np.array([5000, 80, 700, 2000])[:, None, None] * angle)
    pieces = np.repeat(tones, 2, axis=1)[None].astype(np.float32)
    losses = [learner.learn(pieces, 2e-3)[0] for _ in range(16)]
    assert losses[-1] < 0.8 * losses[0]


def test_it_measures_songs_that_it_never_hears(songs: Path, tmp_path: Path) -> None:
    """At the end the ratio of each stem is in the log; measuring changes no weights."""
    measured = train(plan(songs, tmp_path / "a", held_out=songs, minutes_per_check=0.0), threading.Event())
    alone = train(plan(songs, tmp_path / "b"), threading.Event())
    found = [line["sdr"] for line in lines(tmp_path / "a") if "sdr" in line]
    assert len(found) == 5
    assert set(found[-1]) == {"drums", "bass", "other", "vocals", "mean"}
    assert all(torch.allclose(weight, alone.model[name], atol=1e-5) for name, weight in measured.model.items())


@pytest.mark.parametrize("held_out", [False, True])
def test_an_unreadable_song_loses_nothing(held_out: bool, songs: Path, tmp_path: Path) -> None:
    """What was learnt until a song can't be read, to learn from or to measure with, is saved before that is told."""

    class Spoils(StopAt):
        """Never set; damages all songs instead."""

        def is_set(self) -> bool:
            if super().is_set():
                for file in folder.glob("*.npy"):
                    # Another file by that name: of one that is made shorter, whoever reads it in memory would die.
                    empty.write_bytes(b"")
                    empty.replace(file)
            return False

    folder, run, empty = tmp_path / "spoilt", tmp_path / "run", tmp_path / "empty"
    shutil.copytree(songs, folder)
    also = {"held_out": folder, "minutes_per_check": 0.0} if held_out else {}
    with pytest.raises(ValueError, match=r"[ab]\.npy can't be read"):
        train(plan(songs if held_out else folder, run, steps=100, **also), Spoils(2))
    saved = load(run)
    assert saved is not None
    assert 2 <= saved.step < 100


def test_songs_to_measure_with_are_looked_at_first(songs: Path, tmp_path: Path) -> None:
    """A folder without songs to measure with, or with one that can't be read, is told before anything is learnt."""
    held_out = tmp_path / "held-out"
    held_out.mkdir()
    with pytest.raises(ValueError, match="no songs"):
        train(plan(songs, tmp_path / "run", held_out=held_out), threading.Event())
    (held_out / "empty.npy").touch()
    with pytest.raises(ValueError, match=r"empty\.npy"):
        train(plan(songs, tmp_path / "run", held_out=held_out), threading.Event())
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_told_by_its_name(songs: Path, tmp_path: Path) -> None:
    """It is neither taken for nothing, which would be trained over, nor for a fault of the program."""
    run = tmp_path / "run"
    train(plan(songs, run, steps=1), threading.Event())
    whole = (run / CHECKPOINT).read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], b"no checkpoint"):
        (run / CHECKPOINT).write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{CHECKPOINT} is damaged"):
            train(plan(songs, run), threading.Event())


def test_another_shape_needs_another_run(songs: Path, tmp_path: Path) -> None:
    """What was begun with one shape isn't gone on with as another."""
    train(plan(songs, tmp_path / "run", steps=1), threading.Event())
    with pytest.raises(ValueError, match="another shape"):
        train(plan(songs, tmp_path / "run", shape="c32"), threading.Event())


def test_an_end_must_be_named(songs: Path, tmp_path: Path) -> None:
    """Without a number of steps or minutes it would never be done."""
    told = CliRunner().invoke(training.main, [str(songs), "--out", str(tmp_path / "run")])
    assert told.exit_code == 2
    assert "--time-limit" in told.output


def test_a_signal_saves(songs: Path, tmp_path: Path) -> None:
    """SIGTERM ends it well, with what it has learnt until then."""
    run = tmp_path / "run"
    argv = [sys.executable, "-m", "training.train", str(songs), "--out", str(run), "--time-limit", "5"]
    options = ["--batch", "1", "--segment", "1/5", "--threads", "1"]
    with subprocess.Popen([*argv, *options], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}) as child:
        deadline = time.monotonic() + 90
        while not (run / LOG).exists():
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    saved = load(run)
    assert saved is not None
    assert saved.audio_seconds == pytest.approx(saved.step * SEGMENT)


# The command, of which each process keeps its own weights, too.
EACH_KEEPS_ITS_OWN = """
import torch
from training import train as training

def kept(plan, stop, together):
    done = learn(plan, stop, together)
    torch.save(done.model, plan.out / f"{together.rank}.pt")

learn, training.train = training.train, kept
training.main()
"""


@pytest.mark.timeout(300)
def test_two_train_together(songs: Path, tmp_path: Path) -> None:
    """Two processes take the same steps, by what both have heard, to the same weights, and one of them speaks."""
    run, program = tmp_path / "run", tmp_path / "train.py"
    program.write_text(EACH_KEEPS_ITS_OWN)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ["--steps", "3", "--batch", "1", "--segment", "1/5", "--threads", "1", "--precision", "float32"]
    argv = [*torchrun, str(program), str(songs), "--out", str(run), *options]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("stopped at step 3") == 1
    assert len([line for line in lines(run) if "begun" in line]) == 1
    saved, alone = load(run), train(plan(songs, tmp_path / "alone", steps=3), threading.Event())
    assert saved is not None
    assert saved.audio_seconds == pytest.approx(2 * alone.audio_seconds)
    assert any(not torch.allclose(weight, saved.model[name], atol=1e-5) for name, weight in alone.model.items())
    first, second = (torch.load(run / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


def facts(file: Path) -> dict:
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["training"])


def test_an_export_is_what_was_learnt(songs: Path, tmp_path: Path) -> None:
    """Demucs reads the averaged weights as float16 had them, with the segment of the training."""
    run, file = tmp_path / "run", tmp_path / "small.safetensors"
    done: Checkpoint = train(plan(songs, run, steps=2), threading.Event())
    told = CliRunner().invoke(exporting.main, [str(run), str(file)])
    assert told.exit_code == 0, told.output
    assert f"{file.stat().st_size / 1e6:.2f} MB, of step 2" in told.output
    model = load_safetensors_model(file)
    assert model.segment == SEGMENT
    assert model.sources == ["drums", "bass", "other", "vocals"]
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, done.average[name].half().float()), name
    assert facts(file)["steps"] == 2
    assert [path.name for path in tmp_path.glob("small*")] == [file.name]


def test_it_begins_with_a_model(songs: Path, tmp_path: Path) -> None:
    """What was exported can be learnt on from, by a run of its own, and all that was done for it counts.

    A model of another segment can't.
    """
    file = tmp_path / "small.safetensors"
    begun = train(plan(songs, tmp_path / "one", steps=2), threading.Event())
    begun.audio_seconds = 7200.0
    exporting.export(begun, file)
    done = train(plan(songs, tmp_path / "two", steps=1, begin_with=file, learning_rate=0.0), threading.Event())
    for name, weight in load_safetensors_model(file).state_dict().items():
        assert torch.allclose(weight.float(), done.average[name], atol=1e-6), name
    assert done.step == 1
    again = load(tmp_path / "two")
    assert again is not None
    exporting.export(again, tmp_path / "more.safetensors")
    told = facts(tmp_path / "more.safetensors")
    assert (told["steps"], told["audio_hours"]) == (3, 2)
    with pytest.raises(ValueError, match="another shape or segment"):
        train(plan(songs, tmp_path / "three", begin_with=file, segment=Fraction(1, 4)), threading.Event())


def test_nothing_trained_is_nothing_exported(tmp_path: Path) -> None:
    """A folder without a checkpoint is told."""
    told = CliRunner().invoke(exporting.main, [str(tmp_path), str(tmp_path / "small.safetensors")])
    assert told.exit_code == 1
    assert "no training" in told.output
