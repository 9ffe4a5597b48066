"""A large matrix of tries, of which `make test` tries a share that reaches into every row and column."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import pytest

R = TypeVar("R", bound=Hashable)
C = TypeVar("C", bound=Hashable)


def spread(rows: Mapping[R, Sequence[C]], *, in_row: int = 1, in_column: int = 1) -> list[tuple[R, C]]:
    """Pairs of a row and one of its columns: so many in each row, and in each column, where there are that many.

    Columns that were taken least come first, so that neighbouring rows have different ones.
    """
    taken: dict[tuple[R, C], None] = {}
    count: Counter[C] = Counter()

    def take(row: R, column: C) -> None:
        if (row, column) not in taken:
            taken[row, column] = None
            count[column] += 1

    for row, columns in rows.items():
        for _ in range(min(in_row, len(columns))):
            take(row, min((column for column in columns if (row, column) not in taken), key=lambda each: count[each]))
    for column in dict.fromkeys(column for columns in rows.values() for column in columns):
        for row in [row for row, columns in rows.items() if column in columns and (row, column) not in taken]:
            if count[column] < in_column:
                take(row, column)
    return list(taken)


def thoroughly(*values: Any) -> list[Any]:
    """Parameters that `make test` leaves to `make test-all`; a tuple is one of several names."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.thorough) for value in values
    ]
