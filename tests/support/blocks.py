"""The fenced blocks of a document: under which heading each stands, and what somebody types of it."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """`section` is the heading of the second level above it, `heading` the nearest one of any level."""

    section: str
    heading: str
    language: str
    line: int
    code: str


@dataclass(frozen=True)
class Command:
    """What is typed, and what the document shows of the answer."""

    typed: str
    shown: str = ""


def read_blocks(document: Path) -> list[Block]:
    """All of them, from top to bottom."""
    blocks: list[Block] = []
    headings = {2: "", 3: ""}
    opened: tuple[int, str] | None = None
    lines = document.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        fence = re.match(r"```(\S*)$", line)
        if opened is None and fence:
            opened = number, fence[1]
        elif opened is not None and fence:
            begin, language = opened
            code = "".join(lines[begin : number - 1])
            blocks.append(Block(headings[2], headings[3] or headings[2], language, begin, code))
            opened = None
        elif opened is None and (heading := re.match(r"(##+) (.*)$", line)):
            headings = {2: headings[2], 3: ""} if len(heading[1]) > 2 else {2: heading[2], 3: ""}
            headings[len(heading[1])] = heading[2]
    assert opened is None, f"the block of line {opened} of {document.name} has no end"
    return blocks


def typed_in(block: Block) -> list[Command]:
    """Of a `console` what stands behind each "$ ", which goes on where a line ends in a backslash; else all of it.

    What is sent to the background is typed together with what follows.
    """
    if block.language != "console":
        return [Command(block.code)]
    assert block.code.startswith("$ "), f"line {block.line}: a console begins with a command"
    found, typed_before = [], ""
    for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        typed = re.match(r"(?:.*\\\n)*.*\n", part)
        assert typed is not None
        typed_before += typed[0]
        if not typed[0].endswith("&\n"):
            found.append(Command(typed_before, part[typed.end() :]))
            typed_before = ""
    return found
