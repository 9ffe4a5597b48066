"""A secret of this server's own, made once and kept."""

import secrets
from pathlib import Path

from streamsrv.files import write_in_place

_BYTES = 32


def kept_secret(path: Path) -> bytes:
    """The secret in this file, which is made where it is missing. Blocks.

    Raises OSError, and ValueError for a file that is too short: anybody could guess what was signed with it.
    """
    if not path.exists():
        write_in_place(path, secrets.token_bytes(_BYTES))
    secret = path.read_bytes()
    if len(secret) < _BYTES:
        raise ValueError(f"{path} has fewer than {_BYTES} bytes")
    return secret
