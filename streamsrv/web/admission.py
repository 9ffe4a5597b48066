"""How many requests of a kind may be here at the same time, and who has to go where there are too many."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from streamsrv.errors import Unavailable
from streamsrv.web.clients import client_of
from streamsrv.web.senders import Sender, sender_of
from streamsrv.web.taking import Receiver, receiver_of

# Where places are short, one client's share of them is a quarter.
_SHARES = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    request: web.BaseRequest
    client: str

    @property
    def party(self) -> Sender | Receiver | None:
        """Who sends the request's body, or takes its reply; None while neither goes on."""
        return sender_of(self.request) or receiver_of(self.request)


class Admission:
    """Room for `places` requests. `what` names them in the refusal, which comes before anything was done.

    Where all places are taken, a newcomer gets that of the slowest who sends or is answered: of those whose client has
    more than its share while the newcomer's hasn't, and else of those below `busy_bytes_per_second`. A client that has
    its share displaces only itself.
    """

    def __init__(self, places: int, *, what: str, retry_seconds: int, busy_bytes_per_second: float = 0.0) -> None:
        self._places = places
        self._what = what
        self._retry_seconds = retry_seconds
        self._busy_bytes_per_second = busy_bytes_per_second
        self._inside: set[_Place] = set()

    @contextmanager
    def place(self, request: web.BaseRequest) -> Iterator[None]:
        """Have a place for the time of the block. Raises Unavailable, with Retry-After, where none is free."""
        client = client_of(request)
        if len(self._inside) >= self._places and not self._make_room(client):
            raise self._unavailable(f"The server is busy with {len(self._inside)} {self._what}. Try again in a moment.")
        place = _Place(request, client)
        self._inside.add(place)
        try:
            yield
        finally:
            self._inside.discard(place)

    def _make_room(self, newcomer: str) -> bool:
        """Dismiss the slowest of those who may have to go. Its place is free at once."""
        taken, fair = Counter(place.client for place in self._inside), max(1, self._places // _SHARES)
        has_share = bool(newcomer) and taken[newcomer] >= fair
        slow: list[tuple[bool, float, _Place]] = []
        for place in self._inside:
            party, client = place.party, place.client
            if party is None:
                continue
            speed = party.bytes_per_second
            is_over = bool(client) and taken[client] > fair > taken[newcomer]
            is_slow = speed is not None and speed < self._busy_bytes_per_second
            if is_over or (is_slow and (not has_share or client == newcomer)):
                slow.append((not is_over, speed or 0.0, place))
        if not slow:
            return False
        *_, place = min(slow, key=lambda one: one[:2])
        if (party := place.party) is not None:
            party.dismiss(self._unavailable(f"The server is busy with {self._what}, and this one came the slowest."))
        self._inside.discard(place)
        return True

    def _unavailable(self, detail: str) -> Unavailable:
        return Unavailable(detail, headers={"Retry-After": str(self._retry_seconds)})
