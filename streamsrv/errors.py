"""Every problem a client can meet: one class, one status, one sentence.

The docstring's first line is the problem's title, the class name its slug; `detail` says what happened this
time, in words for the person who sent the request: no traceback, no path, no command line.
`web/problems.py` turns them into `application/problem+json` (RFC 9457).
"""

import re
from collections.abc import Mapping
from typing import Any


class Problem(Exception):
    """Something went wrong."""

    status = 500

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell what happened; `members` are further members of the document, as JSON has them (RFC 9457 section 3.2).

        A problem crosses the border of a process whole: what it holds can be pickled.
        """
        self.detail = detail or self.title
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        return (type(self).__doc__ or "").strip().splitlines()[0]

    @property
    def slug(self) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(self).__name__).lower()


class BadRequest(Problem):
    """The request can't be understood."""

    status = 400


class BadParameter(BadRequest):
    """A parameter has a value that isn't possible."""


class BadForm(BadRequest):
    """The form is malformed or incomplete."""


class BadCursor(BadRequest):
    """The cursor isn't one of this server, or not of this request."""


class MissingFile(BadRequest):
    """The form has no file, or an empty one."""


class RefusedUpload(BadRequest):
    """The uploaded file isn't sound that can be read."""


class RefusedAddress(BadRequest):
    """The server fetches nothing from that address."""


class ForeignPage(Problem):
    """A page of another origin may not do that."""

    status = 403


class NotFound(Problem):
    """There is no such thing here."""

    status = 404


class MethodNotAllowed(Problem):
    """This address doesn't take that method."""

    status = 405


class UploadTimeout(Problem):
    """The upload stalled or was too slow."""

    status = 408


class HeadTimeout(Problem):
    """The head of the request didn't come in time."""

    status = 408


class NotFinished(BadRequest):
    """The job isn't finished yet."""


class Conflict(Problem):
    """That is already there, or already over."""

    status = 409


class NotReady(Conflict):
    """That isn't finished yet; ask again in a moment."""


class SourceChanged(Conflict):
    """A source isn't what it was when it was looked into."""


class DownloadTimeout(Problem):
    """The client took nothing of the reply for too long."""

    status = 408


class TooLarge(Problem):
    """The request is larger than this server allows."""

    status = 413


class WrongContentType(Problem):
    """This content type or encoding isn't taken here."""

    status = 415


class RangeNotSatisfiable(Problem):
    """The file doesn't reach as far as the range that was asked for."""

    status = 416


class Misdirected(Problem):
    """The server doesn't go by that name."""

    status = 421


class HeadTooLarge(Problem):
    """The head of the request is too long, or a line of it."""

    status = 431


class UnusableFile(Problem):
    """The file isn't sound that can be read."""

    status = 422


class DamagedFile(UnusableFile):
    """Sound is missing in the file."""


class MissingTrack(UnusableFile):
    """The file has no such audio track."""


class MissingModel(Problem):
    """The model can't be had."""

    status = 422


class FailedDownload(Problem):
    """The file couldn't be downloaded from where it is."""

    status = 422


class InternalError(Problem):
    """The server failed; the fault is not in the request."""

    status = 500


class EncoderKilled(InternalError):
    """The encoder was ended from outside before it was done."""


class DeadlyTask(Problem):
    """The work on this ends its process, again and again."""

    status = 500


class NotInstalled(Problem):
    """This server was installed without what that needs."""

    status = 501


class Unavailable(Problem):
    """That isn't ready or the server is busy; try again in a moment."""

    status = 503


class DiskFull(Problem):
    """The server has no space left on its disk."""

    status = 507
