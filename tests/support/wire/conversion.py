"""Conversions by hand: senders that stop, and readers that leave."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import requests

from support.deadline import WAIT_SECONDS, until
from support.server import Server
from support.sound import decode
from support.traces.processes import converters
from support.wire.messages import Reply, form_of, new_id
from support.wire.upload import REPLY_SECONDS, Upload

# A reply that isn't read stays on the server's side but for so much.
_WINDOW_BYTES = 64 << 10


class Conversion(Upload):
    """A POST to /convert. The format and other options go first, or where they are `late` behind the file."""

    def __init__(
        self,
        server: Server,
        file: Path,
        form: str,
        *,
        options: Mapping[str, str] | None = None,
        late: bool = False,
        patience: float = REPLY_SECONDS,
    ) -> None:
        self.id = new_id()
        body = form_of(file, {"format": form, **(options or {})}, late=late)
        target = f"/convert?conversion_id={self.id}"
        super().__init__(server, target, body, patience=patience, window_bytes=_WINDOW_BYTES)

    def go_live(self) -> None:
        """Send a start, and on little by little until an encoder works on it."""
        self.send_until_live(lambda: converters(self.server.data_dir, self.id))

    def is_read(self) -> bool:
        """It is looked into, or encoded, while it arrives."""
        return any((self.server.data_dir / "scratch").glob(f"convert.{self.id}.live.*/source"))

    def progress(self) -> dict[str, Any]:
        """What the server says of it; nothing once it is over."""
        reply = requests.get(f"{self.server.url}/convert/{self.id}", timeout=WAIT_SECONDS)
        assert reply.status_code in (200, 404)
        return dict(reply.json()) if reply.status_code == 200 else {}

    def reach(self, phase: str) -> None:
        until(lambda: self.progress().get("phase") == phase, what=self.progress)


def convert(server: Server, file: Path, form: str, *, late: bool = False) -> Reply:
    """Send a file and read the whole answer."""
    with Conversion(server, file, form, late=late) as conversion:
        return conversion.finish()


def assert_converts(server: Server, song: Path) -> None:
    """The next conversion is answered with all of the sound, which has one channel."""
    file = convert(server, song, "flac").saved(server.log.with_name("next.flac"))
    assert np.array_equal(decode(file, channels=1), decode(song, channels=1))
