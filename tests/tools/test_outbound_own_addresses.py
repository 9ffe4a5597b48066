"""This machine's own addresses, public ones too, are connected to only where they were named. In a network apart."""

import json
import textwrap
from ipaddress import ip_address
from typing import Any

import pytest
from support.network import is_possible, run_alone

from streamsrv.outbound import routes
from streamsrv.outbound.routes import leads_here

OWN = ("8.8.4.77", "8.8.4.78", "2606:4700:dead:beef::1")
# Asks each address, and gives by its URL what came of that, and how many connections there were for it.
ASK = """
    import asyncio, contextlib, json, socket
    from support.neighbours.canary import FakeNames
    from support.network import take_addresses
    from streamsrv.errors import Problem
    from streamsrv.outbound.addresses import Allowed
    from streamsrv.outbound.guard import Broken, Guard

    OWN, ALLOWED = {own!r}, {allowed!r}

    async def ask(guard, url):
        try:
            async with guard.get(url, {{}}) as reply:
                return (await reply.read()).decode()
        except Broken as broken:
            return broken.problem.detail
        except Problem as problem:
            return problem.detail

    async def main():
        take_addresses(*OWN)
        came = []
        def answer(reader, writer):
            came.append(writer.get_extra_info("sockname")[0])
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nsecret")
            writer.close()
        names = FakeNames({{"own.example": [[OWN[0]]], "both.example": [[OWN[2], OWN[1]]]}})
        names.hosts["mapped.example"] = [[f"::ffff:{{OWN[0]}}"]]
        told = {{}}
        async with contextlib.AsyncExitStack() as opened:
            for host in OWN:
                await opened.enter_async_context(await asyncio.start_server(answer, host, 8000))
            guard = Guard(Allowed.parse(ALLOWED), connect_seconds=5, idle_seconds=5, resolver=names)
            await opened.enter_async_context(guard)
            for host in (*(f"[{{each}}]" if ":" in each else each for each in OWN), *names.hosts):
                told[host] = await ask(guard, f"http://{{host}}:8000/")
        print(json.dumps([told, came]))

    asyncio.run(main())
"""


@pytest.fixture(scope="module")
def _network() -> None:
    if not is_possible():
        pytest.skip("a process may not have a network of its own here (unshare --user --net)")


def asked(*allowed: str) -> tuple[dict[str, str], list[str]]:
    """What each address said, and whom was connected to."""
    told: Any = json.loads(run_alone(textwrap.dedent(ASK.format(own=OWN, allowed=allowed))).splitlines()[-1])
    return told[0], told[1]


@pytest.mark.usefixtures("_network")
def test_own_addresses_are_refused_before_a_byte_is_sent() -> None:
    """Public or not, a second one of an interface, by number, by name or as IPv6: nobody is connected to."""
    told, came = asked()
    assert set(told.values()) == {"No public web server answers there."}
    assert len(told) == 6
    assert came == []


@pytest.mark.usefixtures("_network")
def test_own_addresses_may_be_named() -> None:
    """Those that outbound.allow names, by number or by name, are asked, and no other."""
    told, came = asked("8.8.4.78/32", "own.example")
    assert {host for host, answer in told.items() if answer == "secret"} == {"8.8.4.78", "own.example", "both.example"}
    assert came == ["8.8.4.78", "8.8.4.77", "8.8.4.78"]


def test_loopback_leads_here_and_others_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the system says; where it can't be asked, its choice of a source says the same of most."""
    for address, is_here in (("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("9.9.9.9", False)):
        assert leads_here(ip_address(address)) == is_here, address

    def fail(*_: object) -> bool:
        raise OSError(97, "no such sockets here")

    monkeypatch.setattr(routes, "_asks_kernel", fail)
    for address, is_here in (("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("9.9.9.9", False)):
        assert leads_here(ip_address(address)) == is_here, address
