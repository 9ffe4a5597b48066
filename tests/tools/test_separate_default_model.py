"""The model of songs that name none, while the better one is being fetched in a real process of its own."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from support.deadline import eventually, until

from streamsrv.errors import MissingModel
from streamsrv.separate.catalog import BUILT_IN, Catalog, Entry
from streamsrv.separate.choice import AUTO, DID_NOT_COME, DID_NOT_LOAD, IS_COMING, PREFERRED, Choice
from streamsrv.separate.default_model import DefaultModel

SECONDS = 30.0
NOW = Choice(PREFERRED)
COMING, FAILED = Choice(BUILT_IN, IS_COMING), Choice(BUILT_IN, DID_NOT_COME)
DAMAGED = Choice(BUILT_IN, DID_NOT_LOAD)

Waiting = Callable[[Choice], Awaitable[None]]


def weights(folder: Path) -> Path:
    """Where torch would keep those of htdemucs."""
    return folder / "hub" / "checkpoints" / "955717e8-8726e21a.th"


def bring(folder: Path, name: str) -> None:
    """Once `folder/go` is there, have what a download would leave behind."""
    assert name == PREFERRED
    (folder / "asked").touch()
    until((folder / "go").exists, seconds=SECONDS)
    weights(folder).parent.mkdir(parents=True)
    weights(folder).touch()


def refuse(folder: Path, name: str) -> None:
    (folder / f"refused {time.monotonic_ns()}").touch()
    raise MissingModel(f"There is no {name} today.")


def come_otherwise(folder: Path, name: str) -> None:
    """Refuse, while somebody puts them there by hand."""
    if not weights(folder).exists():
        weights(folder).parent.mkdir(parents=True)
        weights(folder).touch()
        refuse(folder, name)


def bring_rubbish(folder: Path, name: str) -> None:
    """What a hub that is broken leaves behind, until somebody mends it."""
    if not weights(folder).exists():
        weights(folder).parent.mkdir(parents=True)
        weights(folder).write_text("rubbish")
    check(folder, name)


def check(folder: Path, _name: str) -> None:
    with (folder / "checks").open("a") as file:
        file.write("x")
    if weights(folder).read_text() == "rubbish":
        raise MissingModel("Its files are damaged.")


def die(_name: str) -> None:
    os._exit(1)


def catalog(folder: Path, *, download: bool = True) -> Catalog:
    places = {"HF_HOME": str(folder), "TORCH_HOME": str(folder)}
    return Catalog(None, download=download, environment=places)


@asynccontextmanager
async def fetching(model: DefaultModel) -> AsyncIterator[Waiting]:
    """While it is being fetched; gives a function that waits until a song would get what is asked for."""

    async def comes_to(choice: Choice) -> None:
        async def has_come() -> bool:
            return await model.choose() == choice

        await eventually(has_come, seconds=SECONDS)

    async with model.fetching():
        yield comes_to


async def test_songs_dont_wait_for_the_download(tmp_path: Path) -> None:
    """While htdemucs is being downloaded songs get the built-in model at once; as soon as it is here they get it."""
    model = DefaultModel(AUTO, catalog(tmp_path), fetch_weights=partial(bring, tmp_path))
    async with fetching(model) as comes_to:
        await eventually((tmp_path / "asked").exists, seconds=SECONDS)
        assert await model.choose() == COMING
        (tmp_path / "go").touch()
        await comes_to(NOW)
    assert await model.choose() == NOW


async def test_a_download_that_fails_is_tried_again(tmp_path: Path) -> None:
    """It is said that it couldn't be downloaded, now and while that is tried again."""
    fetch = partial(refuse, tmp_path)
    model = DefaultModel(AUTO, catalog(tmp_path), fetch_weights=fetch, pauses_seconds=[0.0, 0.0, 3600.0])
    async with fetching(model) as comes_to:
        await comes_to(FAILED)

        async def has_tried_often() -> bool:
            assert await model.choose() == FAILED
            return len(list(tmp_path.glob("refused *"))) >= 3

        await eventually(has_tried_often, seconds=SECONDS)


async def test_what_came_in_another_way_is_found(tmp_path: Path) -> None:
    """Where the download has failed, what was brought by hand is used as soon as it is there."""
    model = DefaultModel(AUTO, catalog(tmp_path), fetch_weights=partial(refuse, tmp_path), pauses_seconds=[3600.0])
    async with fetching(model) as comes_to:
        await comes_to(FAILED)
        weights(tmp_path).parent.mkdir(parents=True)
        weights(tmp_path).touch()
        assert await model.choose() == NOW


async def test_what_came_while_the_download_failed_is_loaded_at_once(tmp_path: Path) -> None:
    """It isn't taken for damaged until the next hour: a download that fails says nothing of what came another way."""
    fetch = partial(come_otherwise, tmp_path)
    model = DefaultModel(AUTO, catalog(tmp_path), fetch_weights=fetch, pauses_seconds=[3600.0] * 2)
    async with asyncio.timeout(SECONDS):
        await model._have()
    assert await model.choose() == NOW


async def test_a_download_that_dies_has_failed(tmp_path: Path) -> None:
    """A process that ends itself, as where memory is short, takes nothing with it."""
    model = DefaultModel(AUTO, catalog(tmp_path), fetch_weights=die, pauses_seconds=[3600.0])
    async with fetching(model) as comes_to:
        await comes_to(FAILED)


async def test_a_server_that_stops_ends_the_download(tmp_path: Path, own_children: Callable[[], set[int]]) -> None:
    """Whatever the hub does, the end of the block is the end of the process that asks it."""
    model = DefaultModel(AUTO, catalog(tmp_path), fetch_weights=partial(bring, tmp_path))
    async with fetching(model):
        await eventually((tmp_path / "asked").exists, seconds=SECONDS)
        assert own_children()
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert own_children() == set()


@pytest.mark.parametrize("was_here", [False, True])
async def test_what_cant_be_loaded_isnt_used(tmp_path: Path, was_here: bool) -> None:
    """Files that are damaged, as they came or since, don't stop songs: they get the built-in model, which says why.

    Once they are mended they are used.
    """
    if was_here:
        weights(tmp_path).parent.mkdir(parents=True)
        weights(tmp_path).write_text("rubbish")
    model = DefaultModel(
        AUTO, catalog(tmp_path), fetch_weights=partial(bring_rubbish, tmp_path), pauses_seconds=[0.5] * 100
    )
    async with fetching(model) as comes_to:
        await comes_to(DAMAGED)
        assert await model.choose() == DAMAGED
        weights(tmp_path).write_text("good")
        await comes_to(NOW)
    assert await model.choose() == NOW


async def test_what_is_here_is_loaded_once(tmp_path: Path) -> None:
    """Whether it can be used is known soon after the start, and isn't asked again."""
    weights(tmp_path).parent.mkdir(parents=True)
    weights(tmp_path).write_text("good")
    model = DefaultModel(AUTO, catalog(tmp_path), fetch_weights=partial(check, tmp_path), pauses_seconds=[0.0] * 3)
    async with asyncio.timeout(SECONDS):
        await model._have()
    assert (tmp_path / "checks").read_text() == "x"
    assert await model.choose() == NOW


@pytest.mark.parametrize(("wanted", "download"), [("htdemucs", True), (AUTO, False)])
async def test_nothing_is_downloaded_that_isnt_wanted(
    tmp_path: Path, own_children: Callable[[], set[int]], wanted: str, download: bool
) -> None:
    """No process begins where a model is insisted on, and where downloads are off."""
    model = DefaultModel(wanted, catalog(tmp_path, download=download), fetch_weights=partial(refuse, tmp_path))
    async with asyncio.timeout(SECONDS):
        await model._have()  # with nothing to do it ends by itself
    assert own_children() == set()
    assert list(tmp_path.glob("refused *")) == []


async def test_who_insists_is_asked_for_no_files(tmp_path: Path) -> None:
    """A model that the settings name is given by its name: nothing on disk is looked at for it."""

    class Unreadable(Catalog):
        def models(self) -> list[Entry]:
            raise PermissionError(13, "Permission denied")

    model = DefaultModel("htdemucs", Unreadable(None, download=True), fetch_weights=die)
    assert await model.choose() == NOW
