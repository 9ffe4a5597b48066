"""No package is let in by a version that is known to be bad."""

import configparser
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.checkout import ROOT

# The first version in which it is mended, and what was. Whoever reads of another adds it here.
FIRST_GOOD = {
    "aiohttp": ("3.14.3", "CVE-2026-69243, smuggled requests; CVE-2026-69244, its parser reads beyond a reply"),
    "h11": ("0.16.0", "CVE-2025-43859, chunks that end in anything"),
    "idna": ("3.7", "CVE-2024-3651, a long name costs quadratic time"),
    "jinja2": ("3.1.6", "CVE-2025-27516, a way out of its sandbox"),
    "requests": ("2.32.4", "CVE-2024-47081, passwords sent to other hosts"),
    "setuptools": ("78.1.1", "CVE-2025-47273, files written anywhere"),
    "torch": ("2.6.0", "CVE-2025-32434, weights that are programs all the same"),
    "tqdm": ("4.66.3", "CVE-2024-34062, arguments that are run"),
    "urllib3": ("2.6.3", "CVE-2026-21441, replies that inflate while they are thrown away"),
}


def named() -> list[Requirement]:
    """All that setup.cfg and pyproject.toml ask for, of the server and of its tests."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    return [Requirement(line) for text in (*texts, "\n".join(build)) for line in text.split("\n") if line.strip()]


def pinned() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def lowest(requirement: Requirement) -> Version:
    """The oldest version that is let in."""
    floors = [Version(each.version) for each in requirement.specifier if each.operator in (">=", "==", "~=")]
    return max(floors, default=Version("0"))


@pytest.mark.parametrize("name", FIRST_GOOD)
def test_no_version_is_known_to_be_bad(name: str) -> None:
    """What is asked for by name has a floor where its versions begin to be good, and what is pinned is above that."""
    version, why = FIRST_GOOD[name]
    ours = [requirement for requirement in (*named(), *pinned()) if canonicalize_name(requirement.name) == name]
    assert ours != []
    assert [str(requirement) for requirement in ours if lowest(requirement) < Version(version)] == [], why


def test_what_is_pinned_is_let_in() -> None:
    """No floor lies above the version that is pinned."""
    pins = {canonicalize_name(requirement.name): lowest(requirement) for requirement in pinned()}
    asked = [requirement for requirement in named() if canonicalize_name(requirement.name) in pins]
    assert len(asked) > 20
    assert [str(each) for each in asked if pins[canonicalize_name(each.name)] not in each.specifier] == []
