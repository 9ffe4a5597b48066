"""The SQL that ships with this package, read from its .sql files."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load_queries() -> Mapping[str, str]:
    """Read queries.sql: one statement for each name."""
    _, *parts = _NAME.split(_read("queries.sql"))
    return {name: statement.strip() for name, statement in zip(parts[::2], parts[1::2], strict=True)}


def load_schema() -> list[list[str]]:
    """Read the schema steps, each a list of statements; the one at index n takes a database from version n to n + 1."""
    names = sorted(file.name for file in files(__package__).iterdir() if re.fullmatch(r"schema_\d+\.sql", file.name))
    return [list(_statements(_read(name))) for name in names]


def _statements(script: str) -> Iterator[str]:
    # sqlite3's own executescript() commits first, so it can't be part of a transaction.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
