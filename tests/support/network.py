"""A network of a test's own, in which this machine has the addresses that the test wants: network_namespaces(7)."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from support.deadline import until

_ALONE = ("unshare", "--user", "--map-root-user", "--net")
_TESTS = Path(__file__).parent.parent
_ROOT = _TESTS.parent
_SECONDS = 60
# linux/sockios.h
_SET_FLAGS, _SET_ADDRESS, _GET_INDEX = 0x8914, 0x8916, 0x8933
_UP = 1


def is_possible() -> bool:
    """May a process have a network of its own here?"""
    try:
        return subprocess.run([*_ALONE, "true"], capture_output=True, timeout=_SECONDS, check=False).returncode == 0
    except FileNotFoundError:
        return False


def run_alone(program: str) -> str:
    """Run Python in a network of its own, which has nothing but what `take_addresses` gives it; what it printed."""
    variables = {**os.environ, "PYTHONPATH": f"{_TESTS}:{_ROOT}"}
    argv = [*_ALONE, sys.executable, "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, env=variables, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def take_addresses(*addresses: str) -> None:
    """Give this machine these addresses. They are on its loopback, beyond which nothing can go from here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
        index = struct.unpack("16si12x", fcntl.ioctl(control, _GET_INDEX, struct.pack("16s16x", b"lo")))[1]
        for number, address in enumerate(addresses):
            packed = ip_address(address).packed
            if len(packed) == 4:
                name = f"lo:{number}".encode()
                fcntl.ioctl(control, _SET_ADDRESS, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, packed))
            else:
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control6:
                    fcntl.ioctl(control6, _SET_ADDRESS, struct.pack("16sIi", packed, 128, index))
    for address in addresses:
        until(partial(_is_taken, address))


def _is_taken(address: str) -> bool:
    """May a server be bound to it by now? The kernel still looks after an IPv6 address when it has been given."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True
