"""The shelf: it never holds more than it may, lets the least recently used go first, and keeps what is held."""

import asyncio
import os
import tempfile
import threading
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.deadline import eventually

from streamsrv.storage import disk
from streamsrv.storage import shelf as shelf_module
from streamsrv.storage.disk import remove_tree, tree_bytes
from streamsrv.storage.shelf import Shelf

MAX_BYTES = 10
BOOT = ".boot"


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    async with Shelf(tmp_path / "shelf", max_bytes=MAX_BYTES) as shelf:
        yield shelf


def write(path: Path, size: int) -> None:
    """An entry as a folder, with what it has in a folder below."""
    (path / "deep").mkdir(parents=True, exist_ok=True)
    with (path / "deep" / "file").open("ab") as file:
        file.write(b"x" * size)


async def put(shelf: Shelf, name: str, size: int) -> None:
    with shelf.hold(name) as path:
        write(path, size)
        await shelf.measure(name)
    await shelf.make_room()


def names(shelf: Shelf) -> set[str]:
    return {path.name for path in shelf._folder.iterdir() if path.name != BOOT}


async def test_the_folder_is_private(shelf: Shelf) -> None:
    """The folder is made, for this user alone."""
    assert shelf._folder.stat().st_mode & 0o777 == 0o700


async def test_what_was_used_longest_ago_goes_first(shelf: Shelf) -> None:
    """Room is made by removing what nobody has used for the longest time; using is holding."""
    for name in ("a", "b", "c"):
        await put(shelf, name, 3)
    with shelf.hold("a"):
        pass
    await put(shelf, "d", 3)
    assert names(shelf) == {"a", "c", "d"}
    await put(shelf, "e", 6)
    assert names(shelf) == {"d", "e"}
    assert shelf.size == 9


async def test_a_file_is_an_entry_too(shelf: Shelf) -> None:
    """Entries are files or folders."""
    with shelf.hold("file") as path:
        path.write_bytes(b"x" * 7)
        await shelf.measure("file")
    await put(shelf, "folder", 7)
    assert names(shelf) == {"folder"}


async def test_what_is_held_stays(shelf: Shelf) -> None:
    """A held entry isn't removed, however much too large it is, and goes by itself once the last one lets it go."""
    with shelf.hold("a") as path:
        write(path, 20)
        await shelf.measure("a")
        await put(shelf, "b", 1)
        assert names(shelf) == {"a"}
        with shelf.hold("a"):
            pass
        await shelf.make_room()
        assert names(shelf) == {"a"}
    await eventually(lambda: not names(shelf))
    assert shelf.size == 0


async def test_growth_is_counted(shelf: Shelf) -> None:
    """Bytes that are told make room without anybody looking at the disk; so does an entry that nobody has measured."""
    await put(shelf, "a", 4)
    with shelf.hold("b") as path:
        write(path, 2)
        await shelf.grow("b", 2)
        await shelf.make_room()
        assert shelf.size == 6
        write(path, 5)
        await shelf.grow("b", 5)
        await shelf.make_room()
        assert names(shelf) == {"b"}
        assert shelf.size == 7


async def test_what_nobody_measured_is_measured(shelf: Shelf) -> None:
    """Whoever lets go, or fails, before measuring what was made leaves it counted all the same."""
    with shelf.hold("a") as path:
        write(path, 6)
    await shelf.make_room()
    assert shelf.size == 6


async def test_remove(shelf: Shelf) -> None:
    """What is removed is gone on return; what is held goes once it is let go; what is missing is fine."""
    await put(shelf, "a", 1)
    await shelf.remove("a")
    await shelf.remove("missing")
    assert names(shelf) == set()
    with shelf.hold("b") as path:
        write(path, 1)
        await shelf.remove("b")
        assert path.is_dir()
    await shelf.make_room()
    assert (names(shelf), shelf.size) == (set(), 0)


async def test_clear(shelf: Shelf) -> None:
    """All goes but what is held, and it is told how much that was."""
    for name in ("a", "b", "c"):
        await put(shelf, name, 3)
    with shelf.hold("b"):
        assert await shelf.clear() == 6
        assert names(shelf) == {"b"}


@pytest.mark.parametrize("name", ["", ".", "..", ".boot", "a/b", "a\0", "a\n", "x" * 201])
async def test_names_stay_in_the_folder(shelf: Shelf, name: str) -> None:
    """No name leads out of the folder or to the shelf's own files."""
    with pytest.raises(ValueError, match="not a name"), shelf.hold(name):
        pass
    with pytest.raises(ValueError, match="not a name"):
        await shelf.remove(name)
    with pytest.raises(ValueError, match="not a name"):
        await shelf.measure(name)
    with pytest.raises(ValueError, match="not a name"):
        await shelf.grow(name, 1)


async def test_the_next_server_takes_stock(tmp_path: Path) -> None:
    """What a former server left is known with its size and last use; half of a removal, and strangers, go."""
    folder = tmp_path / "shelf"
    async with Shelf(folder, max_bytes=100) as shelf:
        for name in ("a", "b", "c"):
            await put(shelf, name, 5)
        with shelf.hold("a"):
            pass
    write(folder / ".doomed.1", 1)
    (folder / "a stranger").write_bytes(b"x")
    (folder / BOOT).write_bytes(b"x")
    async with Shelf(folder, max_bytes=100) as shelf:
        assert names(shelf) == {"a", "b", "c"}
        assert not (folder / BOOT).exists()
        assert shelf.size == 15
    async with Shelf(folder, max_bytes=MAX_BYTES) as shelf:
        assert names(shelf) == {"a", "c"}
        assert shelf.size == 10


async def test_a_kill_forgets_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last use is written down soon, not only at the end."""
    monkeypatch.setattr(shelf_module, "MARK_SECONDS", 0.01)
    async with Shelf(tmp_path / "shelf", max_bytes=100) as shelf:
        await put(shelf, "a", 1)
        path = tmp_path / "shelf" / "a"
        os.utime(path, (1, 1))
        with shelf.hold("a"):
            pass
        await eventually(lambda: path.stat().st_mtime != 1)


async def test_only_a_running_kernel_vouches(tmp_path: Path) -> None:
    """What isn't synced is found by the next server, but not after the machine has started anew."""
    folder = tmp_path / "shelf"

    def again() -> Shelf:
        return Shelf(folder, max_bytes=100, survives_reboot=False)

    async with again() as shelf:
        await put(shelf, "a", 1)
    async with again() as shelf:
        assert names(shelf) == {"a"}
    for note in (b"another\n", b"", None):
        (folder / BOOT).unlink()
        if note is not None:
            (folder / BOOT).write_bytes(note)
        async with again() as shelf:
            assert (names(shelf), shelf.size) == (set(), 0)
            await put(shelf, "a", 1)
    async with again() as shelf:
        assert names(shelf) == {"a"}


class Gate:
    """Stops the thread that removes just before it looks who holds the entry."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            self.reached.set()
            assert self.opened.wait(5)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


async def test_who_comes_just_in_time_keeps_the_entry(shelf: Shelf) -> None:
    """An entry that was chosen to go, and is held before it is gone, stays as it is, and is still counted."""
    await put(shelf, "a", 4)
    shelf._renaming = gate = Gate()  # type: ignore[assignment]
    async with asyncio.TaskGroup() as tasks:
        removal = tasks.create_task(shelf.remove("a"))
        await asyncio.to_thread(gate.reached.wait, 5)
        with shelf.hold("a") as path:
            gate.opened.set()
            await removal
            assert tree_bytes(path) == 4
            assert shelf.size == 4
    await shelf.make_room()
    assert (names(shelf), shelf.size) == (set(), 0)


async def test_a_cancelled_removal_ends(shelf: Shelf) -> None:
    """Whoever waits for room and is cancelled leaves neither the entry nor wrong books."""
    await put(shelf, "a", 4)
    shelf._renaming = gate = Gate()  # type: ignore[assignment]
    async with asyncio.TaskGroup() as tasks:
        removal = tasks.create_task(shelf.remove("a"))
        await asyncio.to_thread(gate.reached.wait, 5)
        removal.cancel()
        await asyncio.wait([removal])
        gate.opened.set()
    await shelf.make_room()
    assert (names(shelf), shelf.size) == (set(), 0)


async def test_an_entry_that_cannot_go_stops_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal that fails is told in the log; the others go on."""
    for name in ("a", "b", "c"):
        await put(shelf, name, 3)
    rename = Path.rename

    def fail_once(path: Path, target: Path) -> Path:
        if path.name == "a":
            raise PermissionError(1, "no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    await put(shelf, "d", 9)
    assert names(shelf) == {"a", "d"}
    assert shelf.size == 9


OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["make", "grow"]), st.sampled_from("abcd"), st.integers(0, 6)),
    st.tuples(st.sampled_from(["use", "hold", "drop", "remove"]), st.sampled_from("abcd"), st.just(0)),
    st.tuples(st.sampled_from(["clear", "restart"]), st.just(""), st.just(0)),
)


class Model:
    """What a shelf should have: the names and sizes, used longest ago first, and who is held."""

    def __init__(self) -> None:
        self.sizes: OrderedDict[str, int] = OrderedDict()
        self.holds: Counter[str] = Counter()
        self.unwanted: set[str] = set()

    def use(self, name: str) -> None:
        if name in self.sizes and not self.holds[name]:
            self.sizes.move_to_end(name)

    def tidy(self) -> None:
        for name in [name for name in self.unwanted if not self.holds[name]]:
            self.sizes.pop(name, None)
            self.unwanted.discard(name)
        for name in list(self.sizes):
            if sum(self.sizes.values()) > MAX_BYTES and not self.holds[name]:
                del self.sizes[name]


@given(st.lists(OPERATIONS, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_shelf_does_what_its_model_does(operations: list[tuple[str, str, int]]) -> None:
    """After any calls the disk has just those entries that fit, and those that are held, across restarts."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_compare(Path(folder), operations))


async def _compare(folder: Path, operations: list[tuple[str, str, int]]) -> None:
    model = Model()
    rounds: list[list[tuple[str, str, int]]] = [[]]
    for operation in operations:
        if operation[0] == "restart":
            rounds.append([])
        else:
            rounds[-1].append(operation)
    for calls in rounds:
        async with Shelf(folder, max_bytes=MAX_BYTES) as shelf:
            _check(shelf, model)
            held: dict[str, list[ExitStack]] = {name: [] for name in "abcd"}
            for kind, name, size in calls:
                await _do(shelf, model, held, kind, name, size)
                await shelf.make_room()
                model.tidy()
                _check(shelf, model)
            for name, stacks in held.items():
                while stacks:
                    await _do(shelf, model, held, "drop", name, 0)
        model.tidy()


async def _do(shelf: Shelf, model: Model, held: dict[str, list[ExitStack]], kind: str, name: str, size: int) -> None:
    match kind:
        case "make" | "grow":
            with shelf.hold(name) as path:
                write(path, size)
                model.sizes[name] = model.sizes.get(name, 0) + size
                if kind == "make":
                    await shelf.measure(name)
                else:
                    await shelf.grow(name, size)
                    model.holds[name] += 1
                    await shelf.make_room()
                    model.tidy()
                    model.holds[name] -= 1
            model.use(name)
        case "use":
            with shelf.hold(name):
                pass
            model.use(name)
        case "hold":
            stack = ExitStack()
            stack.enter_context(shelf.hold(name))
            held[name].append(stack)
            model.holds[name] += 1
        case "drop" if held[name]:
            held[name].pop().close()
            model.holds[name] -= 1
            model.use(name)
        case "remove":
            await shelf.remove(name)
            model.unwanted.add(name)
        case "clear":
            await shelf.clear()
            model.unwanted |= {name for name in model.sizes if not model.holds[name]}


def _check(shelf: Shelf, model: Model) -> None:
    assert {name: tree_bytes(shelf._folder / name) for name in names(shelf)} == dict(model.sizes)
    assert shelf.size == sum(model.sizes.values())


def test_a_tree_goes_though_somebody_still_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder into which files are still added while it is emptied goes nevertheless."""
    tree = tmp_path / "tree"
    write(tree, 1)
    rmdir, late = os.rmdir, ["one", "two", "three"]

    def add_before(path: str, **options: int) -> None:
        if late and Path(path).name == "deep":
            (tree / "deep" / late.pop()).write_bytes(b"late")
        rmdir(path, **options)

    monkeypatch.setattr(os, "rmdir", add_before)
    remove_tree(tree)
    assert not tree.exists()
    assert late == []


def test_a_tree_that_never_ends_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against one who doesn't stop adding files the removal fails in the end, and says so."""
    tree = tmp_path / "tree"
    write(tree, 1)
    rmdir = os.rmdir

    def add_before(path: str, **options: int) -> None:
        if Path(path).name == "deep":
            (tree / "deep" / "late").write_bytes(b"late")
        rmdir(path, **options)

    monkeypatch.setattr(disk, "_WRITER_SECONDS", 0.05)
    monkeypatch.setattr(os, "rmdir", add_before)
    with pytest.raises(OSError, match="not empty"):
        remove_tree(tree)
