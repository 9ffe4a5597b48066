"""The Storage contract, for each implementation, and what LocalStorage promises beyond it."""

import asyncio
import os
from pathlib import Path

import pytest

from streamsrv.errors import DiskFull
from streamsrv.storage.local import LocalStorage
from streamsrv.storage.storage import Storage

# An implementation is a function that makes one below a folder.
IMPLEMENTATIONS = {"local": LocalStorage}


@pytest.fixture(params=list(IMPLEMENTATIONS.values()), ids=list(IMPLEMENTATIONS))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return request.param(tmp_path / "data")


async def put(storage: Storage, key: str, data: bytes) -> None:
    async with storage.scratch("put") as folder:
        source = folder / "source"
        source.write_bytes(data)
        await storage.put(key, source)


async def test_what_was_put_is_read(storage: Storage) -> None:
    """A file that was put is read and located under its key, and its source is gone."""
    async with storage.scratch("put") as folder:
        source = folder / "source"
        source.write_bytes(b"sound")
        await storage.put("hls/a/1/init.mp4", source)
        assert not source.exists()
    assert await storage.read("hls/a/1/init.mp4") == b"sound"
    path = await storage.locate("hls/a/1/init.mp4")
    assert path is not None
    assert path.read_bytes() == b"sound"


async def test_put_replaces(storage: Storage) -> None:
    """Putting a key again replaces its file."""
    await put(storage, "a/b", b"first")
    await put(storage, "a/b", b"second")
    assert await storage.read("a/b") == b"second"


async def test_put_all(storage: Storage) -> None:
    """Many files are put at once, under keys of any folders; of two with one key the later one stays."""
    async with storage.scratch("put") as folder:
        files = []
        for number, key in enumerate(["a/1", "a/2", "b/c/3", "a/1"]):
            (folder / str(number)).write_bytes(str(number).encode())
            files.append((key, folder / str(number)))
        await storage.put_all(files)
    assert [await storage.read(key) for key in ("a/1", "a/2", "b/c/3")] == [b"3", b"1", b"2"]
    await storage.put_all([])


async def test_missing_keys(storage: Storage) -> None:
    """Reading or locating what isn't there gives None, also for the key of a folder; removing it is fine."""
    await put(storage, "a/b/c", b"x")
    for key in ("nothing", "a", "a/b", "a/b/d", "a/b/c/d"):
        assert await storage.read(key) is None
        assert await storage.locate(key) is None
    await storage.remove("nothing/at/all")


async def test_remove_takes_the_key_and_all_below(storage: Storage) -> None:
    """Removing "a/b" removes the file of that key or all below it, and not "a/bc"."""
    for key in ("a/b/1", "a/b/c/2", "a/bc", "a/d"):
        await put(storage, key, b"x")
    await storage.remove("a/b")
    await storage.remove("a/d")
    await storage.remove("a/d")
    assert [await storage.read(key) for key in ("a/b/1", "a/b/c/2", "a/bc", "a/d")] == [None, None, b"x", None]
    await put(storage, "a/b", b"a file now")
    assert await storage.read("a/b") == b"a file now"


@pytest.mark.parametrize(
    "key", ["", "/", "/etc/passwd", "a//b", "a/", "..", "a/../b", ".", "a/./b", "a\\b", "ä", "a\n"]
)
async def test_other_keys_are_refused(storage: Storage, tmp_path: Path, key: str) -> None:
    """A key with a part that leads elsewhere, or with other characters, is a ValueError everywhere."""
    for operation in (storage.put(key, tmp_path), storage.read(key), storage.locate(key), storage.remove(key)):
        with pytest.raises(ValueError, match="not a storage key"):
            await operation
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.scratch(key).__aenter__()


async def test_scratch_folders_are_private_empty_and_go(storage: Storage) -> None:
    """Each scratch folder is new, nobody else may read it, and it goes with all in it, whatever happened inside."""
    async with storage.scratch("job.1") as one, storage.scratch("job.1") as other:
        assert one != other
        assert list(one.iterdir()) == []
        assert one.stat().st_mode & 0o077 == 0
        (one / "folder").mkdir()
        (one / "folder" / "file").write_bytes(b"x")
    assert not one.exists()
    with pytest.raises(RuntimeError):
        async with storage.scratch("job.1") as one:
            raise RuntimeError
    assert not one.exists()


async def test_a_cancelled_user_leaves_no_scratch_folder(storage: Storage) -> None:
    """A task that is cancelled while it uses a scratch folder leaves none."""
    lent: asyncio.Future[Path] = asyncio.get_running_loop().create_future()

    async def use() -> None:
        async with storage.scratch("job") as folder:
            lent.set_result(folder)
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    folder = await asyncio.wait_for(lent, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not folder.exists()


async def test_a_full_disk_is_told(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space while a file is put is DiskFull."""

    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async with storage.scratch("put") as folder:
        (folder / "source").write_bytes(b"x")
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(DiskFull):
            await storage.put("a/b", folder / "source")


async def test_local_put_syncs_the_file_then_renames_then_syncs_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is on disk before it has its name, and then so is each folder that gained an entry, once."""
    storage = LocalStorage(tmp_path)
    steps: list[str] = []

    def sync(descriptor: int) -> None:
        steps.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)))

    def replace(source: Path, target: Path) -> None:
        steps.append(f"{source.name} -> {target.name}")
        source.rename(target)

    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "y").write_bytes(b"y")
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    await storage.put_all([("a/b/1", tmp_path / "x"), ("a/b/2", tmp_path / "y")])
    assert steps[:4] == ["x", "x -> 1", "y", "y -> 2"]
    assert sorted(steps[4:]) == [".", "files", "files/a", "files/a/b"]


async def test_local_sweep(tmp_path: Path) -> None:
    """Sweeping removes the scratch folders of a killed server and keeps what was put."""
    storage = LocalStorage(tmp_path)
    await put(storage, "a/b", b"x")
    left = tmp_path / "scratch" / "job.1" / "deep"
    left.mkdir(parents=True)
    await storage.sweep()
    assert list((tmp_path / "scratch").iterdir()) == []
    assert await storage.read("a/b") == b"x"
    await LocalStorage(tmp_path / "new").sweep()
