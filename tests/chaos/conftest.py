"""Songs that cost little to encode, a disk that is soon full, and a data directory whose servers all end."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.sound import tone
from support.traces.processes import assert_no_process

from streamsrv.media.child import end_strays


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13.5 s of sound, which is three segments, in a container that can be decoded while it arrives."""
    return tone(tmp_path_factory.mktemp("song") / "song.wav", seconds=13.5, channels=1, hertz=330)


@pytest.fixture(scope="session")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute and a half: more than a second of work for an encoder."""
    return tone(tmp_path_factory.mktemp("song") / "long.flac", seconds=90)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data directory; after the test no process has to do with it any more."""
    yield tmp_path / "data"
    assert_no_process(tmp_path / "data")
    end_strays(tmp_path / "data")  # as the next server would


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB, empty. It needs the right to mount."""
    folder = tmp_path / "data"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False, timeout=30)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
        assert_no_process(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=30)
