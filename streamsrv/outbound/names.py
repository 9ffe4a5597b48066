"""The names of hosts, looked up without holding up anybody else."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from weakref import WeakValueDictionary

from aiohttp.abc import AbstractResolver, ResolveResult

LOOKUPS = 64
# Of the names of one domain, which have the same name servers. Those may be dead, and then each lookup takes long.
LOOKUPS_OF_A_DOMAIN = 4
# A name may have any number of addresses, and each may be dead.
MAX_ADDRESSES = 8

_Found = list[ResolveResult]


class Names(AbstractResolver):
    """The system's own answers. They come in threads of their own, since a lookup can't be called off.

    The loop's usual threads write uploads: somebody who names slow name servers must not stop these. Nor is there
    more than one lookup of a name at a time, or more than a few of a domain: those who wait are given up by whoever
    asked, while the thread goes on until the system gives up.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="lookup")
        self._running: dict[tuple[str, int, int], asyncio.Future[_Found]] = {}
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Give the addresses of the host, at least one. Raises OSError."""
        key = host.lower(), port, int(family)
        if key not in self._running:
            await self._begin(key, host)
        return await asyncio.shield(self._running[key])

    async def _begin(self, key: tuple[str, int, int], host: str) -> None:
        domain = _domain_of(key[0])
        places = self._places.setdefault(domain, asyncio.Semaphore(LOOKUPS_OF_A_DOMAIN))
        await places.acquire()
        if key in self._running:  # somebody who waited, too
            places.release()
            return
        _, port, family = key
        looking = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port, family)
        self._running[key] = looking
        looking.add_done_callback(partial(self._end, key, places))

    def _end(self, key: tuple[str, int, int], places: asyncio.Semaphore, looking: asyncio.Future[_Found]) -> None:
        del self._running[key]
        places.release()
        if not looking.cancelled():
            looking.exception()  # there may be nobody left to be told

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _domain_of(host: str) -> str:
    """The last two parts of a name. Some countries give out names below these: then strangers share a few places."""
    return ".".join(host.rstrip(".").split(".")[-2:])


def _look_up(host: str, port: int, family: int) -> _Found:
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "not a name") from error
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=port,
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found[:MAX_ADDRESSES]
    ]
