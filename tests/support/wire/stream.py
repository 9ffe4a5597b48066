"""An upload that becomes a stream, under the name that the test gave it."""

import http.client
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import requests

from support.server import Server
from support.wire.messages import form_of
from support.wire.upload import REPLY_SECONDS, Upload

_PIECE_BYTES = 32 << 10


class StreamUpload(Upload):
    """The fields come before the file, or where they are `late` behind it."""

    def __init__(
        self, server: Server, job_id: str, file: Path, fields: Mapping[str, str], *, late: bool = False
    ) -> None:
        self.job_id = job_id
        super().__init__(server, f"/v1/stream/transcode?job_id={job_id}", form_of(file, fields, late=late))

    def status(self) -> str:
        """What the job's status is; nothing where there is no job yet."""
        reply = requests.get(f"{self.server.url}/v1/stream/job/{self.job_id}", timeout=REPLY_SECONDS)
        return str(reply.json()["status"]) if reply.status_code == 200 else ""

    def is_processing(self) -> bool:
        return self.status() == "Processing"

    def go_live(self) -> None:
        """Send a start, and on little by little until the server works on the job."""
        self.send_until_live(self.is_processing)

    def trickle(self, *, hold_back: int = 0) -> None:
        """Send in small pieces, each after a look at the job, and keep the last `hold_back` bytes."""
        while self.left > hold_back:
            self.send(min(_PIECE_BYTES, self.left - hold_back))
            self.status()

    def answered(self) -> bool:
        """Send the rest; did the server say 200, or was it gone?"""
        with suppress(OSError, http.client.HTTPException):  # the server is gone
            self.trickle()
            answer = self.answer()
            return answer is not None and (answer.status, answer.whole) == (200, True)
        return False
