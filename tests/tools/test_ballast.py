"""What is kept on a disk for the moment in which it is full."""

import os
from pathlib import Path

import pytest

from streamsrv.storage.ballast import Ballast


async def test_it_comes_and_goes(tmp_path: Path) -> None:
    """It takes space that somebody else gets when it goes; both may be asked for again."""
    ballast = Ballast(tmp_path)
    for _ in range(2):
        await ballast.keep()
        (file,) = tmp_path.iterdir()
        assert file.stat().st_blocks * 512 >= 256 << 10
    for _ in range(2):
        await ballast.drop()
        assert not [*tmp_path.iterdir()]


async def test_it_takes_nothing_of_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where next to nothing is free it doesn't come back."""
    full = os.statvfs(tmp_path)
    values = [*full]
    values[4] = 1
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    await Ballast(tmp_path).keep()
    assert not [*tmp_path.iterdir()]
