"""How much of a body is in memory, and what this process keeps of memory that it has freed."""

import ctypes

# asyncio asks the socket for 256 KiB at a time and aiohttp buffers as much; a large upload is faster in larger bites.
# Each that stalls may hold some of them, so that only a few uploads are read so, and the others in small ones.
LARGE_READ_BYTES = 1 << 20
SMALL_READ_BYTES = 64 << 10
# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_large_buffers() -> None:
    """Let this process keep the memory of freed buffers for the next ones. Call it once, at start.

    By default glibc gives each large buffer back to the system and asks for it again, zeroed page by page: half of the
    time that an upload costs. Elsewhere than on glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 4 * LARGE_READ_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 32 * LARGE_READ_BYTES)


def give_back_memory() -> None:
    """Give the system what is kept and not in use, also between what is in use. Elsewhere as above."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
