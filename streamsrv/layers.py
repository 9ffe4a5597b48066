"""Settings before they are typed: tables of a file, and one laid over another."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def read_toml(file: Path) -> dict[str, Any]:
    """Raises OSError for a file that can't be read, and ValueError, which names it, for one that isn't TOML."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file}: {error}") from error


def merge(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One table of all: what comes later wins, key by key. Pure."""
    merged: dict[str, Any] = {}
    for layer in layers:
        _lay(merged, layer)
    return merged


def _lay(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if not isinstance(value, Mapping):
            into[key] = value
        elif isinstance(into.setdefault(key, {}), dict):  # else it is a value where a section belongs, and is refused
            _lay(into[key], value)
