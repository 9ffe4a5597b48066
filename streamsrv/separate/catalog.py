"""Which models there are, and whether their weights are on this machine: files are looked at, Demucs isn't imported."""

import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streamsrv.errors import NotInstalled

State = Literal["available", "needs download", "missing"]

NOT_INSTALLED = (
    "Demucs isn't installed on this server; its operator can add it, by `make serve` or the extra 'separate'"
    " of the package"
)
_MAY_NOT_COME = "isn't on this server, which may not download it"
_NO_BAG = "isn't a bag of models in the server's folder of models"
_HAS_GAPS = "isn't whole in the server's folder of models"
_FOUR = ("drums", "bass", "other", "vocals")
_SOURCES = {"htdemucs_6s": (*_FOUR, "guitar", "piano")}
# The model that comes along with the server. It has this name wherever models come from, and no other one has it.
BUILT_IN = "streamsrv-small"
_ABOUT_BUILT_IN = (
    "Small and built in, for where no other can be had: it learnt from made-up songs, and never heard a real record."
)
_BUILT_IN_FOLDER = Path(__file__).resolve().parent / "built_in"
# Demucs's home at its hub, as its cache has it.
_HUB_FOLDER = "models--adefossez--{}"
_HUB_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model by the name that a request may give; its stems where they are known without loading it.

    `detail` says in words what is missing, and what to do, or what else there is to know. `lack` says the first in few
    words that go on from its name, where another model can stand in for it.
    """

    name: str
    sources: tuple[str, ...] | None
    state: State
    detail: str = ""
    lack: str = ""


def is_installed() -> bool:
    """Is the extra there that separation needs?"""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "demucs", "yaml", "safetensors"))


def check_installed() -> None:
    """Raises NotInstalled, in words for people, where the extra isn't there."""
    if not is_installed():
        raise NotInstalled(f"This server can't separate songs: {NOT_INSTALLED}.")


def knows_gpus() -> bool:
    """Can the torch that is installed use GPUs? Its version says where it was built for processors alone."""
    try:
        return not importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False


def built_in_file() -> Path:
    """Where the weights of BUILT_IN are, if they were installed."""
    return _BUILT_IN_FOLDER / f"{BUILT_IN}.safetensors"


def may_download(wanted: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Are models fetched? As it is `wanted`, but never where one of huggingface_hub's own variables says offline."""
    return wanted and not says_offline(environment)


def says_offline(environment: Mapping[str, str] = os.environ) -> bool:
    """As huggingface_hub reads them."""
    said = environment.get("HF_HUB_OFFLINE") or environment.get("TRANSFORMERS_OFFLINE") or ""
    return said.upper() in {"1", "ON", "YES", "TRUE"}


def hub_silence() -> str | None:
    """Why nothing can be fetched from Demucs's hub now, in words; None where it answers. Blocks for some seconds."""
    # It takes half a second to import, and goes by the proxies that its downloads go by.
    from huggingface_hub import constants, get_session  # noqa: PLC0415

    try:
        get_session().head(constants.ENDPOINT, timeout=_HUB_SECONDS)
    except Exception:  # of its client's many kinds
        return f"{constants.ENDPOINT} doesn't answer"
    return None


class Catalog:
    """The built-in model, and those of the folder `repo`, or of Demucs's hub.

    What the hub has may be fetched by a song where `download` says so.
    """

    def __init__(self, repo: Path | None, *, download: bool, environment: Mapping[str, str] = os.environ) -> None:
        self._repo = repo
        self._download = download
        self._environment = environment

    def models(self) -> list[Entry]:
        """All of them, by name. Blocks while it looks at files."""
        if not is_installed():
            return [
                Entry(name=name, sources=_SOURCES.get(name, _FOUR), state="missing", detail=NOT_INSTALLED)
                for name in ("htdemucs", "htdemucs_6s", "htdemucs_ft", BUILT_IN)
            ]
        found = self._of_hub() if self._repo is None else self._of_folder(self._repo)
        others = [entry for entry in found if entry.name != BUILT_IN]
        return sorted([*others, _built_in()], key=lambda entry: entry.name)

    def find(self, name: str) -> Entry | None:
        """The model of that name; None where nobody knows it."""
        return next((entry for entry in self.models() if entry.name == name), None)

    def _of_hub(self) -> Iterator[Entry]:
        weights = _official_weights()
        for name, signatures in _official_bags().items():
            sources = _SOURCES.get(name, _FOUR)
            if self._is_in_hub_cache(name, signatures) or self._is_in_torch_cache(signatures, weights):
                yield Entry(name=name, sources=sources, state="available")
            elif self._download:
                detail = "The first song that asks for it has its weights downloaded."
                yield Entry(name=name, sources=sources, state="needs download", detail=detail)
            else:
                detail = f"Its weights aren't here. Fetch them: python -m streamsrv models pull {name}"
                yield Entry(name=name, sources=sources, state="missing", detail=detail, lack=_MAY_NOT_COME)

    def _is_in_hub_cache(self, name: str, signatures: Sequence[str]) -> bool:
        model = self._hub_cache() / _HUB_FOLDER.format(_hub_name(name))
        try:
            commit = (model / "refs" / "main").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return False
        files = [f"{name}.yaml", *(f"{signature}.safetensors" for signature in signatures)]
        return all(_is_file(model / "snapshots" / commit / file) for file in files)

    def _hub_cache(self) -> Path:
        """Where huggingface_hub keeps what it has fetched."""
        for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
            if self._environment.get(variable):
                return _expanded(self._environment[variable])
        home = self._environment.get("HF_HOME")
        return (_expanded(home) if home else self._cache() / "huggingface") / "hub"

    def _checkpoints(self) -> Path:
        """Where torch keeps what it has fetched."""
        home = self._environment.get("TORCH_HOME")
        return (_expanded(home) if home else self._cache() / "torch") / "hub" / "checkpoints"

    def _is_in_torch_cache(self, signatures: Sequence[str], weights: Mapping[str, str]) -> bool:
        folder = self._checkpoints()
        return all(signature in weights and _is_file(folder / weights[signature]) for signature in signatures)

    def _cache(self) -> Path:
        return _expanded(self._environment.get("XDG_CACHE_HOME") or "~/.cache")

    def _of_folder(self, folder: Path) -> Iterator[Entry]:
        try:
            files = [file for file in folder.iterdir() if file.is_file()]
        except OSError:
            return
        singles = {_signature(file) for file in files if file.suffix in {".th", ".safetensors"}}
        bags = {file.stem: file for file in files if file.suffix == ".yaml" and file.stem not in singles}
        official = _official_bags()
        # Models that a bag is made of are listed by the bag's name alone.
        of_bags: set[str] = set()
        for name, file in bags.items():
            signatures = _read_bag(file)
            of_bags |= set(signatures or ())
            known = signatures is not None and official.get(name) == signatures
            sources = _SOURCES.get(name, _FOUR) if known else None
            missing = [signature for signature in signatures or () if signature not in singles]
            if signatures is None:
                detail = "Its YAML file isn't a bag of models."
                yield Entry(name=name, sources=None, state="missing", detail=detail, lack=_NO_BAG)
            elif missing:
                detail = f"The folder of models lacks {', '.join(missing)}, which this bag is made of."
                yield Entry(name=name, sources=sources, state="missing", detail=detail, lack=_HAS_GAPS)
            else:
                yield Entry(name=name, sources=sources, state="available")
        for name in singles - of_bags:
            yield Entry(name=name, sources=None, state="available")


def _built_in() -> Entry:
    if built_in_file().is_file():
        return Entry(name=BUILT_IN, sources=_FOUR, state="available", detail=_ABOUT_BUILT_IN)
    return Entry(name=BUILT_IN, sources=_FOUR, state="missing", detail="Its file isn't in this installation.")


def _is_file(path: Path) -> bool:
    """What may not be looked at isn't there."""
    try:
        return path.is_file()
    except OSError:
        return False


def _expanded(path: str) -> Path:
    """With somebody's home in the place of ~; as it is where nobody knows that."""
    return Path(os.path.expanduser(path))  # noqa: PTH111, Path's own raises


def _signature(file: Path) -> str:
    """SIGNATURE-CHECKSUM.th, SIGNATURE.th or SIGNATURE.safetensors, as Demucs reads them."""
    return file.stem.rsplit("-", 1)[0] if file.suffix == ".th" else file.stem


def _hub_name(name: str) -> str:
    """As demucs.hf.hf_repo_name has it."""
    if name == "htdemucs":
        return "HTDemucs"
    family, _, rest = name.partition("_")
    return f"HTDemucs-{rest}" if family == "htdemucs" else f"Demucs-{name}"


def _official_bags() -> dict[str, list[str]]:
    """Demucs's own list: which models each of its bags is made of."""
    bags = {file.stem: _read_bag(file) for file in _lists().glob("*.yaml")}
    return {name: signatures for name, signatures in bags.items() if signatures is not None}


def _official_weights() -> dict[str, str]:
    """The names of the files of Demucs's models, by their signatures."""
    lines = (_lists() / "files.txt").read_text(encoding="utf-8").split()
    return {_signature(Path(line)): line for line in lines if line.endswith(".th")}


def _lists() -> Path:
    found = importlib.util.find_spec("demucs")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(NOT_INSTALLED)
    return Path(found.submodule_search_locations[0]) / "remote"


def _read_bag(file: Path) -> list[str] | None:
    """Which models a bag is made of; None where the file isn't a bag."""
    yaml: Any = importlib.import_module("yaml")  # it comes with Demucs
    try:
        bag = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    signatures = bag.get("models") if isinstance(bag, dict) else None
    good = isinstance(signatures, list) and signatures and all(isinstance(one, str) for one in signatures)
    return signatures if good else None
