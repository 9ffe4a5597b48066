"""Runs an application on connections of which there are no more than a crowd takes."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from streamsrv.web.connections import Connection
from streamsrv.web.crowd import Bounds, Crowd


class _Connections(web.Server):
    def __init__(self, usual: web.Server, crowd: Crowd, settings: Mapping[str, Any]) -> None:
        super().__init__(usual.request_handler, request_factory=self._begin, **settings)
        self._usual_factory = usual.request_factory
        self._crowd = crowd

    def _begin(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        if isinstance(protocol, Connection):
            protocol.begin_request(writer)
        return self._usual_factory(message, payload, protocol, writer, task)

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, crowd=self._crowd, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on such connections, of which there are no more than the crowd takes."""

    __slots__ = ("_crowd",)

    def __init__(self, app: web.Application, *, crowd: Crowd | None = None, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._crowd = Crowd(Bounds()) if crowd is None else crowd

    async def _make_server(self) -> web.Server:
        return _Connections(await super()._make_server(), self._crowd, self._kwargs)
