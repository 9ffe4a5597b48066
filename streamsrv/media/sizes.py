"""Which sizes in headers are promises. Pure.

Whoever writes to a pipe doesn't know the length when the header goes out, and leaves there what is least likely to stop
a player: nothing, all bits set, or a number near the most that 31 or 32 bits hold, which each program chooses anew.
"""

# What such a writer leaves is this large at least; most songs are smaller.
LARGE_BYTES = (1 << 31) - (1 << 20)
_LIMITS = (1 << 31, 1 << 32)
_NEAR_BYTES = 1 << 20
# Of a file that was cut off more than that has come, mostly.
_LEAST_SHARE = 1 / 4


def is_promise(size: int, file_bytes: int | None) -> bool:
    """Can a file of `file_bytes`, None while it still grows, be held to the `size` that its header states?"""
    if size <= 0:
        return False
    if size < LARGE_BYTES:
        return True
    if file_bytes is None:
        return False  # only the whole file tells
    is_near = any(abs(size - limit) <= _NEAR_BYTES for limit in _LIMITS)
    return size <= file_bytes or not (is_near or file_bytes < size * _LEAST_SHARE)
