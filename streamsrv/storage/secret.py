"""A secret of this server's own, made once and kept."""

import os
import secrets
from pathlib import Path

_BYTES = 32


def kept_secret(path: Path) -> bytes:
    """The secret in this file, which is made where it is missing. Blocks. Raises OSError."""
    if not path.exists():
        made = path.with_suffix(".new")
        made.unlink(missing_ok=True)
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(descriptor)
        made.replace(path)  # whole or not at all
    return path.read_bytes()
