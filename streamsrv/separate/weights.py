"""The models of Demucs from where they are: a folder of the operator's, caches on this machine, or Demucs's hub.

And the one that comes along with the server. Like `model` it imports torch only when it runs. Files of models may run
code when they are read: they come from the operator's folder or from Demucs itself, never from a request.
"""
# ruff: noqa: PLC0415

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from streamsrv.errors import DiskFull, MissingModel
from streamsrv.separate.catalog import BUILT_IN, NOT_INSTALLED, built_in_file, is_installed

# Of a name from a request no address of a hub and no path of this machine may be made.
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
# torch fetches without a limit of its own, and a song that is cancelled doesn't stop that: its device would be lost.
_SILENCE_SECONDS = 30.0


def load_model(name: str, repo: Path | None, *, download: bool) -> Any:
    """Give the model, or the bag of models, as Demucs has it. MissingModel says in words what to do."""
    with _told_in_words(name, repo):
        if not _NAME.fullmatch(name):
            raise MissingModel("There is no model of that name.")
        if name == BUILT_IN:
            return _built_in()
        return _from_folder(name, repo) if repo else _from_hub(name, download=download)


def fetch(name: str, repo: Path | None, *, download: bool) -> None:
    """Have a model on this machine, and load it, so that what is here is known to be good. For a process of its own.

    It prints nothing: what libraries say of their downloads isn't for the server's log. Raises MissingModel.
    """
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        load_model(name, repo, download=download)


def _built_in() -> Any:
    from demucs.hf import load_safetensors_model

    file = built_in_file()
    if not file.is_file():
        raise MissingModel(f"The file of the model {BUILT_IN} isn't in this installation; install the server anew.")
    return load_safetensors_model(file)


def _from_folder(name: str, folder: Path) -> Any:
    """One model, or a bag of those that lie beside it. Pickles among them run code: the folder is the operator's."""
    import yaml
    from demucs.apply import BagOfModels
    from demucs.hf import load_safetensors_model
    from demucs.repo import LocalRepo

    if not folder.is_dir():
        raise MissingModel("The server's folder of models, separate.model_repo, isn't there.")
    pickles = LocalRepo(folder)

    def single(signature: str) -> Any:
        if pickles.has_model(signature):
            return pickles.get_model(signature)
        safe = folder / f"{signature}.safetensors"
        return load_safetensors_model(safe) if safe.is_file() else None

    model = single(name)
    file = folder / f"{name}.yaml"
    if model is not None:
        return model
    if not file.is_file():
        raise MissingModel(f"There is no model {name} in the server's folder of models, separate.model_repo.")
    bag = yaml.safe_load(file.read_text(encoding="utf-8"))
    models = [single(signature) for signature in bag["models"]]
    if None in models:
        raise MissingModel(f"The model {name} is a bag of models, of which some aren't in separate.model_repo.")
    return BagOfModels(models, bag.get("weights"), bag.get("segment"))


def _from_hub(name: str, *, download: bool) -> Any:
    """What lies in the caches on this machine, which takes no network; else, with `download`, as Demucs gets it."""
    from demucs.pretrained import get_model

    model = _from_cache_of_hub(name) or _from_cache_of_torch(name)
    if model is not None:
        return model
    if not download:
        raise MissingModel(
            f"The weights of the model {name} aren't on this server. Its operator can fetch them:"
            f" python -m streamsrv models pull {name}"
        )
    try:
        with _short_silences():
            return get_model(name)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull from error
        raise MissingModel(f"The weights of the model {name} couldn't be fetched; try again later.") from error


def _from_cache_of_hub(name: str) -> Any:
    import yaml
    from demucs.apply import BagOfModels
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name, load_safetensors_model
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def cached(file: str) -> Path:
        return Path(hf_hub_download(f"{DEFAULT_NAMESPACE}/{hf_repo_name(name)}", file, local_files_only=True))

    try:
        bag = yaml.safe_load(cached(f"{name}.yaml").read_text(encoding="utf-8"))
        files = [cached(f"{signature}.safetensors") for signature in bag["models"]]
    except LocalEntryNotFoundError:
        return None
    return BagOfModels([load_safetensors_model(file) for file in files], bag.get("weights"), bag.get("segment"))


def _from_cache_of_torch(name: str) -> Any:
    """What Demucs's earlier home gave. Raises MissingModel where Demucs has no model of that name."""
    import torch
    import yaml
    from demucs.pretrained import REMOTE_ROOT, _parse_remote_files
    from demucs.repo import AnyModelRepo, BagOnlyRepo, RemoteRepo

    singles = RemoteRepo(_parse_remote_files(REMOTE_ROOT / "files.txt"))
    both = AnyModelRepo(singles, BagOnlyRepo(REMOTE_ROOT, singles))
    if not both.has_model(name):
        raise MissingModel(f"There is no model {name}.")
    bag = REMOTE_ROOT / f"{name}.yaml"
    signatures = yaml.safe_load(bag.read_text(encoding="utf-8"))["models"] if bag.is_file() else [name]
    addresses = [singles.list_model()[signature] for signature in signatures]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    # Then they are read from there; nothing is fetched.
    return both.get_model(name) if all((folder / Path(address).name).is_file() for address in addresses) else None


@contextmanager
def _short_silences() -> Iterator[None]:
    """Within the block a server that says nothing is an error after a while, for a process that does nothing else."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _told_in_words(name: str, repo: Path | None) -> Iterator[None]:
    """Turn whatever may go wrong with files of others into MissingModel."""
    if not is_installed():
        raise MissingModel(f"This server can't separate: {NOT_INSTALLED}.")
    place = "in separate.model_repo" if repo else "in the server's cache"
    if name == BUILT_IN:
        place = "in this installation"
    try:
        yield
    except (MissingModel, DiskFull, MemoryError):
        raise
    except (ImportError, SystemExit) as error:  # Demucs exits where diffq is missing
        raise MissingModel(f"The model {name} needs a Python package that this server hasn't, e.g. diffq.") from error
    except Exception as error:
        raise MissingModel(
            f"The files of the model {name} {place} are damaged, or no model of Demucs. Its operator can replace them."
        ) from error
