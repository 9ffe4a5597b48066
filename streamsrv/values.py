"""Values of settings that have rules of their own. Each refuses, in words, what it can't be."""

import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import NoDecode

MIN_SECRET = 16
_NAME = re.compile(r"[A-Za-z0-9._*-]+", re.ASCII)
# A host by name or address, and a port.
_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?/?", re.ASCII)


def _take_origin(url: str) -> str:
    if url and not _ORIGIN.fullmatch(url):
        raise ValueError(
            "It is where browsers find the server, http:// or https:// and a host, e.g. https://audio.example.org,"
            " with nothing behind the host and its port: the page can't live below a path"
        )
    return url.rstrip("/")


def _take_names(hosts: list[str]) -> list[str]:
    if not all(map(_NAME.fullmatch, hosts)):
        raise ValueError('Hosts are names alone, without http:// and port, e.g. *.example.org; "*" is all')
    return hosts


def _take_networks(networks: list[str]) -> list[str]:
    try:
        return [str(ip_network(network, strict=False)) for network in networks]
    except ValueError as error:
        raise ValueError("Proxies are addresses or networks, e.g. 127.0.0.1 or 10.1.2.0/24") from error


def _take_long_secret(secret: str) -> str:
    if 0 < len(secret) < MIN_SECRET:
        raise ValueError(f"A secret has at least {MIN_SECRET} characters")
    return secret


Port = Annotated[int, Field(ge=0, le=65535)]
# An empty one would mean every address.
Host = Annotated[str, Field(min_length=1)]
PublicUrl = Annotated[str, AfterValidator(_take_origin)]
HostNames = Annotated[list[str], NoDecode, AfterValidator(_take_names)]
Networks = Annotated[list[str], NoDecode, AfterValidator(_take_networks)]
Secret = Annotated[str, AfterValidator(_take_long_secret)]
