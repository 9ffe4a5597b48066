"""A secret of this server's own, made once and kept."""

import os
import secrets
from pathlib import Path

_BYTES = 32


def kept_secret(path: Path) -> bytes:
    """The secret in this file, which is made where it is missing. Blocks.

    Raises OSError, and ValueError for a file that is too short: anybody could guess what was signed with it.
    """
    if not path.exists():
        made = path.with_suffix(".new")
        made.unlink(missing_ok=True)
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(descriptor)
        made.replace(path)  # whole or not at all
    secret = path.read_bytes()
    if len(secret) < _BYTES:
        raise ValueError(f"{path} has fewer than {_BYTES} bytes")
    return secret
