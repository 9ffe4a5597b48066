"""What the commands of training refuse: each in one line that says what is wrong, with a status, and no traceback."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from training import baseline, demo, evaluate, export, pictures, stems, train
from training.checkpoint import FILE as CHECKPOINT
from training.songs import __main__ as songs

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "baseline": baseline.main,
    "demo": demo.main,
    "evaluate": evaluate.main,
    "export": export.main,
    "pictures": pictures.main,
    "songs": songs.main,
    "stems": stems.main,
    "train": train.main,
}
SONG = np.zeros((4, 2, 50_000), np.int16)
# After what the command is asked for: what it says. Names in capitals are files of the folder below.
TRAIN = "train SONGS --out RUN --steps 1 --segment 1/5"
REFUSED = {
    f"{TRAIN} --time-limit -5": "-5.0 is not in the range x>0",
    f"{TRAIN} --time-limit nan": "nan is no finite number",
    f"{TRAIN} --minutes-per-check inf": "inf is no finite number",
    f"{TRAIN} --batch 0": "0 is not in the range",
    f"{TRAIN} --batch -2": "-2 is not in the range",
    f"{TRAIN} --segment 0": "0 is less than 1/10",
    f"{TRAIN} --segment 1/0": "'1/0' is no number",
    f"{TRAIN} --segment long": "'long' is no number",
    f"{TRAIN} --threads 0": "0 is not in the range",
    f"{TRAIN} --seed -1": "-1 is not in the range",
    f"{TRAIN} --learning-rate nan": "nan is no finite number",
    f"{TRAIN} --device foo": "'foo' is not one of",
    f"{TRAIN} --device cuda": "There is no GPU here",
    f"{TRAIN} --begin-with JUNK.safetensors": "JUNK.safetensors is damaged, or no model",
    f"{TRAIN} --held-out EMPTY": "no songs (*.npy) in",
    f"{TRAIN} --held-out CUT-OFF": "song.npy can't be read as a song",
    "train SONGS --out JUNK.txt/run --steps 1": "JUNK.txt/run: Not a directory",
    "train SONGS --out DAMAGED --steps 1": "checkpoint.pt is damaged",
    "train EMPTY --out RUN --steps 1 --threads 1": "no songs (*.npy) in",
    "train ZERO-BYTE --out RUN --steps 1 --segment 1/5 --threads 1": "song.npy can't be read as a song",
    "songs RUN --processes 0": "0 is not in the range",
    "songs RUN --songs 0": "0 is not in the range",
    "songs RUN --seconds 0": "0.0 is not in the range",
    "songs RUN --seconds -3": "-3.0 is not in the range",
    "songs RUN --seconds 0.05": "0.05 is not in the range",
    "songs RUN --seconds nan": "nan is no finite number",
    "songs RUN --seed -1": "-1 is not in the range",
    "songs RUN --soundfont Nope.sf2": "Nope.sf2. What songs need is installed by: make training",
    "songs JUNK.txt/songs --soundfont TimGM6mb.sf2": "JUNK.txt/songs: Not a directory",
    "evaluate SONGS --server foo": "--server must be a URL",
    "evaluate SONGS --server http://127.0.0.1:9": "can't be reached",
    "evaluate SONGS --model JUNK.safetensors --songs -1": "-1 is not in the range",
    "evaluate SONGS --model JUNK.safetensors --songs 0": "0 is not in the range",
    "evaluate SONGS --model JUNK.safetensors --pictures -1": "-1 is not in the range",
    "evaluate SONGS --model JUNK.safetensors": "JUNK.safetensors is damaged, or no model",
    "evaluate SONGS --model JUNK.safetensors --out JUNK.txt/figures": "JUNK.txt/figures: Not a directory",
    "evaluate EMPTY --server http://127.0.0.1:9": "no songs (*.npy) in",
    "evaluate CUT-OFF --server http://127.0.0.1:9": "song.npy can't be read as a song",
    "evaluate ZERO-BYTE --server http://127.0.0.1:9": "song.npy can't be read as a song",
    "evaluate SHORTEST --server http://127.0.0.1:9": "song.npy is no song",
    "pictures CUT-OFF/song.npy --out RUN": "song.npy can't be read as a song",
    "pictures JUNK.txt --out RUN": "JUNK.txt can't be read as sound",
    "pictures SONGS/song.npy --out JUNK.txt/figures": "JUNK.txt/figures: Not a directory",
    "stems CUT-OFF/song.npy --out RUN": "song.npy can't be read as a song",
    "stems SONGS/song.npy --seconds 0": "0.0 is not in the range",
    "stems SONGS/song.npy --out JUNK.txt/stems": "JUNK.txt/stems: Not a directory",
    "demo RUN/song.mp3 --soundfont Nope.sf2": "Nope.sf2. What songs need is installed by: make training",
    "demo JUNK.txt/song.mp3 --soundfont TimGM6mb.sf2": "JUNK.txt: File exists",
    "baseline SONGS": "silent",
    "baseline SONGS --seconds -1": "-1.0 is not in the range",
    "baseline SONGS --songs 0": "0 is not in the range",
    "baseline EMPTY": "no songs (*.npy) in",
    "baseline CUT-OFF": "song.npy can't be read as a song",
    "export EMPTY RUN.safetensors": "There is no training in",
    "export DAMAGED RUN.safetensors": "checkpoint.pt is damaged",
    "export DAMAGED model.bin": "model.bin isn't NAME.safetensors",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the names in REFUSED are."""
    for name in ("SONGS", "CUT-OFF", "ZERO-BYTE", "SHORTEST", "EMPTY", "DAMAGED"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "SONGS" / "song.npy", SONG)
    np.save(tmp_path / "SHORTEST" / "song.npy", SONG[..., :0])
    (tmp_path / "CUT-OFF" / "song.npy").write_bytes((tmp_path / "SONGS" / "song.npy").read_bytes()[:1000])
    (tmp_path / "ZERO-BYTE" / "song.npy").touch()
    (tmp_path / "DAMAGED" / CHECKPOINT).touch()
    for name in ("JUNK.safetensors", "JUNK.txt"):
        (tmp_path / name).write_text("neither a model nor a sound")
    monkeypatch.chdir(tmp_path)
    threads, before = torch.get_num_threads(), {*tmp_path.rglob("*")}
    yield tmp_path
    torch.set_num_threads(threads)
    assert not [file for file in {*tmp_path.rglob("*")} - before if file.suffix in {".safetensors", ".partial", ".png"}]


@pytest.mark.parametrize("asked", REFUSED)
def test_it_is_told_in_a_line(asked: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad option, or a file that is missing, damaged or in the way, ends a command with words and a status."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    name, *arguments = asked.split()
    told = CliRunner().invoke(COMMANDS[name], arguments)
    assert isinstance(told.exception, SystemExit), told.exception
    assert told.exit_code in {click.ClickException.exit_code, click.UsageError.exit_code}
    *_, line = told.output.splitlines()
    assert line.startswith("Error: ")
    assert REFUSED[asked] in line


def test_a_model_needs_its_folder(folder: Path) -> None:
    """A training is exported into a folder that is there, or that one is named."""
    options = "--steps 1 --batch 1 --segment 1/5 --threads 1"
    learnt = CliRunner().invoke(train.main, ["SONGS", "--out", "RUN", *options.split()])
    assert learnt.exit_code == 0, learnt.output
    told = CliRunner().invoke(export.main, ["RUN", "MISSING/small.safetensors"])
    assert told.exit_code == 1
    assert told.output.startswith("Error: MISSING/small.safetensors.partial: No such file")


def test_a_server_of_its_own_ends_with_it(folder: Path, descendants: Callable[[int], list[int]]) -> None:
    """Whoever ends an evaluation by SIGTERM ends the server that it has started, and leaves no folder of it."""
    temporary = folder / "temporary"
    temporary.mkdir()
    argv = [sys.executable, "-m", "training.evaluate", "SONGS", "--model", "JUNK.safetensors", "--serve"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    with subprocess.Popen(argv, env=env) as child:
        deadline = time.monotonic() + 90
        while not [*temporary.glob("*/data")]:  # the server is at it
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.05)
        started = descendants(child.pid)
        assert started
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 128 + signal.SIGTERM
    # What the server itself had started notices a moment later that it is gone.
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in started):
        assert time.monotonic() < deadline, started
        time.sleep(0.05)
    assert not [*temporary.iterdir()]
