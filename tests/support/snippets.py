"""The code of documents, word for word, and the ports that it takes for granted."""

import re
import socket
from contextlib import closing

import pytest

from support.checkout import ROOT

_FOLDER = ROOT / "tests" / "acceptance" / "snippets"


def read_snippets(*documents: str) -> dict[str, str]:
    """The blocks of code in these documents, each by the heading above it."""
    texts = [(_FOLDER / name).read_text(encoding="utf-8") for name in documents]
    block = re.compile(r"^## ([^\n]+)\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return {name: code for text in texts for name, code in block.findall(text)}


def claim_port(port: int) -> None:
    """Say clearly that a port which a document names is taken."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            pytest.fail(f"The document's code uses port {port}, and another program has it: {error}", pytrace=False)
