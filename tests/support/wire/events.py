"""Server-sent events as EventSource reads them."""

import json
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import requests


@dataclass(frozen=True)
class Event:
    number: int
    name: str
    document: dict[str, Any]


def listen(url: str, *, last: int = 0, most: int = 1000) -> list[Event]:
    """The events behind the last one that was heard, up to the end of the stream or as many as are wanted."""
    headers = {"Last-Event-ID": str(last)} if last else {}
    events: list[Event] = []
    fields: dict[str, str] = {}
    with closing(requests.get(url, headers=headers, stream=True, timeout=60)) as reply:
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        for line in reply.iter_lines(chunk_size=1):
            if line:
                name, _, value = line.decode().partition(":")
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                events.append(Event(int(fields["id"]), fields["event"], json.loads(fields["data"])))
                fields = {}
            if len(events) == most:
                break
    return events
