"""The smallest server around receive_form and Spool: POST / stores the form's file, DELETE / removes it.

python bench/receiver.py PORT FOLDER
"""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from streamsrv.storage.spool import Spool, Spools
from streamsrv.web.memory import keep_large_buffers
from streamsrv.web.uploads import FilePart, UploadLimits, receive_form

LIMITS = UploadLimits(
    max_upload_bytes=1 << 40, max_parts=10, max_field_bytes=1024, idle_seconds=30, min_bytes_per_second=1024
)


class Receiver:
    def __init__(self, folder: Path) -> None:
        self._spools = Spools(folder)

    async def store(self, request: web.Request) -> web.Response:
        form = await receive_form(request, fields=(), limits=LIMITS, open_file=self._open)
        if (spool := self._spools.get("upload")) is not None:
            await spool.end()
        return web.Response(text=str(form.file_bytes))

    async def remove(self, _request: web.Request) -> web.Response:
        if (spool := self._spools.get("upload")) is not None:
            await spool.abort()
        return web.Response()

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _open(self, _part: FilePart, _fields: Mapping[str, str]) -> Spool:
        return await self._spools.create("upload")


async def main(port: int, folder: Path) -> None:
    keep_large_buffers()
    receiver = Receiver(folder)
    app = web.Application()
    app.add_routes(
        [web.post("/", receiver.store), web.delete("/", receiver.remove), web.get("/health", receiver.health)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
