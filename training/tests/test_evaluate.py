"""Figures of a separation: which songs count where, and what is written of them."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from training import evaluate
from training.evaluate import judge, report, summaries, write_figures
from training.separators import Estimate
from training.songs.score import RATE, STEMS

VOCALS = STEMS.index("vocals")


def stems(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (4, 2, RATE)).astype(np.float32)


def judged(name: str, truth: np.ndarray, estimate: np.ndarray) -> object:
    return judge(name, truth, Estimate(estimate, 0.5, "cpu"), np.zeros_like(truth))


def test_a_silent_stem_counts_as_a_ghost_alone() -> None:
    """Where a stem is silent, no ratio of it is in a mean; what a model has there instead is told beside the mix."""
    sung, instrumental = stems(1), stems(2)
    instrumental[VOCALS] = 0
    ghostly = instrumental.copy()
    ghostly[VOCALS] = instrumental.sum(axis=0) / 100
    songs = [judged("sung", sung, sung * 0.9), judged("instrumental", instrumental, ghostly)]
    found = summaries(songs)
    assert {row: columns["SDR"].songs for row, columns in found.items()} == {
        "drums": 2,
        "bass": 2,
        "other": 2,
        "vocals": 1,
        "all four": 2,
    }
    assert found["vocals"]["SDR"].mean == pytest.approx(20.0, abs=0.01)
    assert found["vocals"]["SDR of the baseline"].mean == pytest.approx(0.0, abs=0.01)
    assert songs[1].ghosts == {"vocals": pytest.approx(-40.0, abs=0.01)}
    assert "vocals silent in 1, where the model has it at -40 dB beside the mix" in report(songs, "so")


def test_the_mix_is_one_of_the_estimates() -> None:
    """Of four stems alike the mix is a bad estimate: thrice the stem's energy is distortion."""
    truth = stems(3)
    found = summaries([judged("one", truth, truth)])
    assert found["all four"]["SDR of the mix"].mean == pytest.approx(-10 * np.log10(3), abs=0.1)


def test_figures_are_written_whole(tmp_path: Path) -> None:
    """Both files are there, valid, and nothing beside them, even where no song has a stem."""
    truth = stems(4)
    truth[VOCALS] = 0
    write_figures([judged("one", truth, truth)], "so", tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["figures.json", "figures.md"]
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["summary"]["vocals"] == dict.fromkeys(found["summary"]["vocals"])
    assert found["real_time_factor"] == pytest.approx(0.5)
    assert "| vocals   |" in (tmp_path / "figures.md").read_text()


def test_all_songs_are_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of the folder, unless it is asked for fewer."""
    for number in range(25):
        (tmp_path / f"{number:02}.npy").touch()
    truth = stems(5)
    monkeypatch.setattr(evaluate.separators, "server", lambda *_: nullcontext())
    monkeypatch.setattr(
        evaluate, "evaluate", lambda files, *_, **__: [judged(file.stem, truth, truth) for file in files]
    )
    for options, songs in (([], 25), (["--songs", "3"], 3)):
        told = CliRunner().invoke(evaluate.main, [str(tmp_path), "--server", "http://127.0.0.1:9", *options])
        assert told.exit_code == 0, told.output
        assert f"\n{songs} songs, " in told.output
