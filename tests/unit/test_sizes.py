"""Which sizes in headers are promises."""

import pytest

from streamsrv.media.sizes import is_promise

SMALL, GIB = 500_000, 1 << 30


@pytest.mark.parametrize(
    "size",
    [
        *(0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0x80000024, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0xFFFFFF9B, 0x7FFFFFFF - 100),
        *(2**36 - 1, 2**63 - 1, 2**64 - 1, 3 * GIB),
    ],
)
def test_what_writers_to_pipes_leave_is_no_promise(size: int) -> None:
    """Two gigabytes or more in a much smaller file, whatever number was chosen, hold nobody to anything."""
    assert not is_promise(size, SMALL)
    assert not is_promise(size, None)


@pytest.mark.parametrize(
    ("size", "file_bytes"),
    [(SMALL, SMALL // 2), (SMALL, None), (2 * GIB, 2 * GIB + 44), (5 * GIB, 2 * GIB), (3 * GIB, 3 * GIB)],
)
def test_what_can_be_true_is_held_against_a_file(size: int, file_bytes: int | None) -> None:
    """What is small, what is as large as it says, and what may have been cut off."""
    assert is_promise(size, file_bytes)


def test_what_is_large_is_decided_at_the_end() -> None:
    """While a file grows nobody knows whether it comes to its two gigabytes."""
    assert not is_promise(5 * GIB, None)
