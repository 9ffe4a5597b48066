"""Where models come from, and what is said where they can't be had. Nothing here reaches a network."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from demucs.hf import hf_repo_name
from safetensors.torch import load_file
from support.models import FOUR, SIX, save_bag, save_pickle, save_safe, small_model, tiny_repo

from streamsrv.errors import MissingModel
from streamsrv.separate import catalog
from streamsrv.separate.catalog import BUILT_IN, Catalog, Entry, built_in_file, may_download
from streamsrv.separate.model import describe
from streamsrv.separate.settings import ModelInfo, ModelSpec, Part
from streamsrv.separate.weights import load_model

HTDEMUCS_FT = ["f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d"]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of nobody, and no way out. torch and huggingface_hub may have read the variables already."""
    home = tmp_path / "cache"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return home


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def spec_of(name: str, repo: Path | None, *, download: bool = False) -> ModelSpec:
    return ModelSpec(name=name, repo=repo, download=download, precision="float32")


def complaint(name: str, repo: Path | None) -> str:
    """What is said of a model that can't be had. Neither paths nor tracebacks are anybody's business."""
    with pytest.raises(MissingModel) as caught:
        describe(spec_of(name, repo))
    assert "/" not in caught.value.detail
    assert "Error" not in caught.value.detail
    return caught.value.detail


def test_a_model_tells_what_it_is(tmp_path: Path) -> None:
    """Stems, rate, channels and windows of a model are known once it is loaded."""
    folder = tiny_repo(tmp_path / "models")
    part = Part(models=(0,), segment=44100, margin=0, fixed=True)
    known: dict[str, Any] = {"sample_rate": 44100, "channels": 2, "parts": (part,)}
    assert describe(spec_of("tiny", folder)) == ModelInfo(name="tiny", sources=tuple(FOUR), **known)
    assert describe(spec_of("tiny6", folder)) == ModelInfo(name="tiny6", sources=tuple(SIX), **known)


def test_safe_files_are_models_too(repo: Path) -> None:
    """SIGNATURE.safetensors is the same model as SIGNATURE.th, alone and in a bag beside pickles."""
    model = small_model(seed=3)
    save_safe(repo, "safe", model)
    save_pickle(repo, "pickled", small_model(seed=4))
    save_bag(repo, "both", ["safe", "pickled"], weights=[[1, 1, 1, 1], [2, 2, 2, 2]])
    noise = torch.randn(1, 2, 44100)
    with torch.no_grad():
        assert torch.equal(load_model("safe", repo, download=False).eval()(noise), model(noise))
    assert describe(spec_of("both", repo)).parts[0].models == (0, 1)


def test_what_is_not_there_is_said(repo: Path) -> None:
    """A model, a part of a bag or the folder itself that isn't there: which setting it is about is said."""
    assert "no model htdemucs in" in complaint("htdemucs", repo)
    save_bag(repo, "half", ["gone"])
    assert "some aren't in separate.model_repo" in complaint("half", repo)
    assert "separate.model_repo, isn't there" in complaint("htdemucs", repo / "nowhere")


@pytest.mark.parametrize("name", ["../secret", "hf://some/one", "some/one", "", ".hidden", "a\nb", "-x", "ü"])
@pytest.mark.parametrize("local", [True, False])
def test_a_name_is_only_a_name(repo: Path, name: str, local: bool) -> None:
    """No path of this machine and no address of a hub can be given for a model's name."""
    save_pickle(repo.parent, "secret", small_model())
    assert complaint(name, repo if local else None) == "There is no model of that name."


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20_000])


def unnamed(file: Path) -> Path:
    """A file without a checksum in its name is read as it is."""
    return file.rename(file.with_name("model.th"))


def test_damaged_files_are_noticed(repo: Path) -> None:
    """Weights that end in the middle, that aren't what their name says, or that are no model at all."""
    save_pickle(repo, "model", small_model())
    file = next(repo.glob("model-*.th"))
    whole = file.read_bytes()
    cut_short(file)
    assert "damaged" in complaint("model", repo)
    cut_short(unnamed(file))
    assert "damaged" in complaint("model", repo)
    (repo / "model.th").write_bytes(whole)
    assert describe(spec_of("model", repo)).sources == tuple(FOUR)
    torch.save({"weights": 3}, repo / "other.th")
    assert "damaged" in complaint("other", repo)
    (repo / "twice-12345678.th").touch()
    (repo / "twice.th").touch()
    assert "damaged" in complaint("twice", repo)


def test_damaged_safe_files_and_bags_are_noticed(repo: Path) -> None:
    """The same for safetensors, and for YAML that isn't a bag."""
    save_safe(repo, "safe", small_model())
    cut_short(repo / "safe.safetensors")
    assert "damaged" in complaint("safe", repo)
    for number, text in enumerate(["{", "models: 3", "[]", "", "models: [safe]\nweights: [[1]]", "\x00"]):
        (repo / f"bag{number}.yaml").write_text(text)
        assert "damaged" in complaint(f"bag{number}", repo)


def test_a_bag_must_have_something_to_say_of_each_stem(repo: Path) -> None:
    """A bag without any weight for a stem would make noise of it; more channels than two can't be played."""
    save_pickle(repo, "model", small_model())
    save_bag(repo, "silent", ["model"], weights=[[1, 1, 0, 1]])
    assert "has a weight" in complaint("silent", repo)
    save_pickle(repo, "quad", small_model(audio_channels=4))
    assert "4 channels" in complaint("quad", repo)


def test_a_missing_package_is_said(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantized models need diffq, where Demucs ends the process; a server without the extra says how to get it."""
    package = {"klass": type(small_model()), "args": (FOUR,), "kwargs": {}, "state": {"__quantized": True}}
    torch.save(package, repo / "packed.th")
    assert "diffq" in complaint("packed", repo)
    monkeypatch.setattr("streamsrv.separate.weights.is_installed", lambda: False)
    assert "the extra 'separate'" in complaint("packed", repo)


def test_weights_are_fetched_only_where_that_is_allowed() -> None:
    """Without a folder, what isn't cached isn't there: it is said how to fetch it. Unknown names stay unknown."""
    assert "python -m streamsrv models pull htdemucs" in complaint("htdemucs", None)
    assert complaint("htdemucs_nope", None) == "There is no model htdemucs_nope."
    assert complaint("demucs_unittest", None) == "There is no model demucs_unittest."


def test_a_failed_download_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither of Demucs's homes can be reached, the model can't be had now."""

    def unreachable(name: str) -> None:
        raise ConnectionRefusedError(name)

    monkeypatch.setattr("demucs.pretrained.get_model", unreachable)
    with pytest.raises(MissingModel, match="couldn't be fetched"):
        describe(spec_of("htdemucs_ft", None, download=True))


def test_a_server_of_weights_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that stands still is over after a while, in words; nothing waits for it for ever."""
    monkeypatch.setattr("streamsrv.separate.weights._SILENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr("demucs.pretrained.ROOT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(MissingModel, match="couldn't be fetched"):
            load_model("htdemucs", None, download=True)
    assert socket.getdefaulttimeout() is None


def fill_hub_cache(home: Path, name: str, folder: str, signatures: list[str]) -> Path:
    """As huggingface_hub leaves it behind."""
    model = home / "hub" / f"models--adefossez--{folder}"
    snapshot = model / "snapshots" / ("c0ffee" * 7)[:40]
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(snapshot.name)
    for number, signature in enumerate(signatures):
        save_safe(snapshot, signature, small_model(seed=number))
    save_bag(snapshot, name, signatures)
    return snapshot


def test_the_cache_of_the_hub_is_enough(offline: Path) -> None:
    """What an earlier download has left is loaded without a network, and is available; a part of it isn't."""
    snapshot = fill_hub_cache(offline, "htdemucs_ft", "HTDemucs-ft", HTDEMUCS_FT)
    assert states(download=False)["htdemucs_ft"] == "available"
    assert len(describe(spec_of("htdemucs_ft", None)).parts[0].models) == 4
    (snapshot / f"{HTDEMUCS_FT[2]}.safetensors").unlink()
    assert states(download=False)["htdemucs_ft"] == "missing"
    with pytest.raises(MissingModel, match="models pull htdemucs_ft"):
        load_model("htdemucs_ft", None, download=False)


def test_the_cache_of_torch_is_enough(offline: Path) -> None:
    """The same for what came from Demucs's earlier home."""
    folder = offline / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    save_pickle(folder, "955717e8", small_model())
    made = next(folder.iterdir())
    assert states(download=True)["htdemucs"] == "needs download"
    made.rename(folder / "955717e8-8726e21a.th")
    assert states(download=True)["htdemucs"] == "available"
    assert load_model("htdemucs", None, download=False).sources == FOUR
    assert load_model("955717e8", None, download=False).sources == FOUR


def states(*, download: bool) -> dict[str, str]:
    return {entry.name: entry.state for entry in Catalog(None, download=download).models()}


def test_the_catalog_of_the_hub() -> None:
    """Demucs's own models are known with their stems, and it is said what to do for those that aren't here."""
    assert {state for name, state in states(download=True).items() if name != BUILT_IN} == {"needs download"}
    assert {"htdemucs", "htdemucs_ft", "htdemucs_6s", "hdemucs_mmi", "mdx_extra"} < set(states(download=True))
    entry = Catalog(None, download=False).find("htdemucs_6s")
    assert entry is not None
    assert (entry.sources, entry.state) == (tuple(SIX), "missing")
    assert "python -m streamsrv models pull htdemucs_6s" in entry.detail
    assert Catalog(None, download=False).find("nobody") is None


def test_the_catalog_of_a_folder(repo: Path) -> None:
    """Bags, and models that are in none; stems only where they are known without running what is in a file."""
    tiny_repo(repo)
    save_safe(repo, "alone", small_model())
    save_bag(repo, "half", ["alone2", "7e570001"])
    save_bag(repo, "htdemucs_ft", HTDEMUCS_FT)
    (repo / "broken.yaml").write_text("{")
    (repo / "notes.txt").touch()
    entries = {entry.name: entry for entry in Catalog(repo, download=True).models()}
    assert list(entries) == ["alone", "broken", "half", "htdemucs_ft", BUILT_IN, "tiny", "tiny6"]
    available = {name for name, entry in entries.items() if entry.state == "available"}
    assert available == {"alone", "tiny", "tiny6", BUILT_IN}
    assert entries["tiny"] == Entry(name="tiny", sources=None, state="available")
    assert "lacks alone2" in entries["half"].detail
    assert entries["htdemucs_ft"].sources == tuple(FOUR)
    assert [entry.name for entry in Catalog(repo / "nowhere", download=True).models()] == [BUILT_IN]


def test_the_built_in_model_is_always_there(repo: Path) -> None:
    """Whatever folder or hub models come from, the small one that comes along is listed, and loaded by its name."""
    for folder in (None, repo, repo / "nowhere"):
        entry = Catalog(folder, download=False).find(BUILT_IN)
        assert entry is not None
        assert entry.state == "available"
        assert "never heard a real record" in entry.detail
        info = describe(spec_of(BUILT_IN, folder))
        assert (info.name, info.sources, info.sample_rate, info.channels) == (BUILT_IN, entry.sources, 44100, 2)


def test_the_name_of_the_built_in_model_is_its_own(repo: Path) -> None:
    """A file of its name in the operator's folder isn't looked at, whatever it is: it can't pass for the other one."""
    (repo / f"{BUILT_IN}.safetensors").write_text("something else")
    assert [entry.name for entry in Catalog(repo, download=False).models()] == [BUILT_IN]
    assert describe(spec_of(BUILT_IN, repo)) == describe(spec_of(BUILT_IN, None))


def test_the_built_in_model_is_no_program() -> None:
    """Its file is safetensors, which runs no code, and of a size that can come along with a package."""
    file = built_in_file()
    assert file.suffix == ".safetensors"
    assert file.stat().st_size <= 10_000_000
    assert file.stat().st_mode & 0o044 == 0o044  # whoever installed it isn't whoever runs it
    kinds = {tensor.dtype for tensor in load_file(file).values()}
    assert torch.float16 in kinds


def test_a_lost_built_in_model_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an installation without its file it is missing, and it is said that the installation is to blame."""
    monkeypatch.setattr(catalog, "_BUILT_IN_FOLDER", tmp_path)
    entry = Catalog(None, download=True).find(BUILT_IN)
    assert entry is not None
    assert (entry.state, "isn't in this installation" in entry.detail) == ("missing", True)
    with pytest.raises(MissingModel, match="install the server anew"):
        load_model(BUILT_IN, None, download=True)
    built_in_file().touch()
    with pytest.raises(MissingModel, match="in this installation are damaged"):
        load_model(BUILT_IN, None, download=True)


@pytest.mark.parametrize(
    ("wanted", "offline", "may"), [(True, "", True), (True, "0", True), (True, "yes", False), (False, "0", False)]
)
def test_nothing_is_downloaded_offline(wanted: bool, offline: str, may: bool) -> None:
    """Models are downloaded as the setting says, but never where the variable of the hub's own library forbids it."""
    assert may_download(wanted, {"HF_HUB_OFFLINE": offline}) is may
    assert may_download(wanted, {}) is wanted
    assert may_download(wanted, {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": offline}) is may


@pytest.mark.parametrize("home", ["~nobody-of-this-name", "/" + 300 * "x", "/dev/null/x"])
def test_a_cache_that_cant_be_read_is_empty(home: str) -> None:
    """Variables that lead nowhere are no reason to refuse songs: the models aren't here, and that is all."""
    ours = Catalog(None, download=True, environment={"HF_HOME": home, "TORCH_HOME": home, "XDG_CACHE_HOME": home})
    states = {entry.name: entry.state for entry in ours.models()}
    assert states.pop(BUILT_IN) == "available"
    assert set(states.values()) == {"needs download"}


@pytest.mark.parametrize(
    ("files", "lack"),
    [
        ({"htdemucs.yaml": "models: [abc]"}, "isn't whole in the server's folder of models"),
        ({"htdemucs.yaml": "[1, 2"}, "isn't a bag of models in the server's folder of models"),
    ],
)
def test_why_a_model_of_the_folder_cant_be_used(tmp_path: Path, files: dict[str, str], lack: str) -> None:
    """It is said in a few words behind its name, for those who then get another one."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = Catalog(tmp_path, download=True).find("htdemucs")
    assert found is not None
    assert (found.state, found.lack) == ("missing", lack)


def test_each_name_of_the_hub_is_spelt_as_demucs_does() -> None:
    """The folder of a model in the hub's cache has the name that Demucs gives it."""
    names = states(download=True)
    assert {name: catalog._hub_name(name) for name in names} == {name: hf_repo_name(name) for name in names}


@pytest.mark.parametrize(
    ("variables", "hub", "checkpoints"),
    [
        ({"XDG_CACHE_HOME": "{}/c"}, "c/huggingface/hub", "c/torch/hub/checkpoints"),
        ({"HOME": "{}/h"}, "h/.cache/huggingface/hub", "h/.cache/torch/hub/checkpoints"),
        ({"HF_HOME": "{}/f", "TORCH_HOME": "{}/t"}, "f/hub", "t/hub/checkpoints"),
        ({"HF_HUB_CACHE": "{}/x"}, "x", None),
    ],
)
def test_caches_are_where_the_libraries_have_them(
    tmp_path: Path, variables: dict[str, str], hub: str, checkpoints: str | None
) -> None:
    """The catalog looks where huggingface_hub and torch would, by the same variables."""
    settings = {name: value.format(tmp_path) for name, value in variables.items()}
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], **settings}
    asked = (
        "import json, torch, huggingface_hub.constants as hub; from streamsrv.separate.catalog import Catalog;"
        "ours = Catalog(None, download=False);"
        "print(json.dumps([hub.HF_HUB_CACHE, torch.hub.get_dir(), str(ours._hub_cache()), str(ours._checkpoints())]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", asked], env=environment, capture_output=True, check=True, text=True, timeout=60
    )
    theirs_hub, theirs_torch, ours_hub, ours_torch = json.loads(ran.stdout)
    assert ours_hub == theirs_hub == str(tmp_path / hub)
    assert ours_torch == str(Path(theirs_torch) / "checkpoints")
    if checkpoints is not None:
        assert ours_torch == str(tmp_path / checkpoints)


def test_the_server_needs_no_torch() -> None:
    """What the server imports of separation, and its catalog at work, bring neither torch nor Demucs in."""
    asked = (
        "import sys, streamsrv.separate.model, streamsrv.separate.measure, streamsrv.separate.overlap as _;"
        "from streamsrv.separate.catalog import Catalog; assert Catalog(None, download=True).models();"
        "sys.exit(any(name.split('.')[0] in ('torch', 'demucs', 'safetensors') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", asked], check=True, timeout=60)


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that was installed without the extra, as far as anybody looks."""
    found = importlib.util.find_spec

    def find(name: str) -> object:
        return None if name in {"torch", "demucs"} else found(name)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", find)
        yield


@pytest.mark.usefixtures("without_extra")
def test_a_server_without_the_extra_says_so() -> None:
    """Models are listed then, too, and each says what to install."""
    assert not catalog.is_installed()
    entries = Catalog(None, download=True).models()
    assert "htdemucs" in {entry.name for entry in entries}
    assert {entry.state for entry in entries} == {"missing"}
    assert all("the extra 'separate'" in entry.detail for entry in entries)
