"""What lies below the media roots: folders, and files that look like audio or video."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from streamsrv.errors import Problem, UnusableFile
from streamsrv.extract.sources import Sources
from streamsrv.text import shown

_MAX_ENTRIES = 1000
_SUFFIXES = frozenset(
    (
        *(".aac", ".ac3", ".aif", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi", ".caf", ".dts", ".eac3"),
        *(".flac", ".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4"),
        *(".mpeg", ".mpg", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".tak", ".ts", ".tta", ".vob", ".w64"),
        *(".wav", ".weba", ".webm", ".wma", ".wmv", ".wv"),
    )
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One of them; a folder has no size."""

    name: str
    uri: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder, None being the list of the roots, and what is in it; `more`: there is more than was listed."""

    folder: str | None
    parent: str | None
    entries: list[Entry]
    more: bool


def list_folder(sources: Sources, uri: str | None) -> Listing:
    """List a folder, or the roots. Blocks. Raises RefusedAddress, UnusableFile where it is no folder."""
    if uri is None:
        roots = [Entry(str(root), root.as_uri(), None) for root in sources.roots if root.is_dir()]
        return Listing(None, None, roots, more=False)
    folder = sources.find(uri)
    if not folder.is_dir():
        raise UnusableFile("That isn't a folder.")
    try:
        paths = sorted(folder.iterdir(), key=lambda path: (path.name.casefold(), path.name))
    except OSError as error:  # it may also have gone by now
        raise UnusableFile("That folder can't be read.") from error
    found = (entry for path in paths if (entry := _entry(path, sources)) is not None)
    entries = list(itertools.islice(found, _MAX_ENTRIES + 1))
    more = len(entries) > _MAX_ENTRIES
    shown = sorted(entries[:_MAX_ENTRIES], key=lambda entry: entry.size is not None)  # folders first, in their order
    parent = None if folder in sources.roots else folder.parent.as_uri()
    return Listing(folder.as_uri(), parent, shown, more=more)


def _entry(path: Path, sources: Sources) -> Entry | None:
    """None for what nobody would choose: hidden, no sound, or a link that leads out."""
    if path.name.startswith("."):
        return None
    try:
        path.name.encode()
        real = sources.find(path.as_uri())
        if real.is_dir():
            return Entry(shown(path.name), path.as_uri(), None)
        looks_right = path.suffix.lower() in _SUFFIXES and real.is_file()
        return Entry(shown(path.name), path.as_uri(), real.stat().st_size) if looks_right else None
    except (OSError, UnicodeEncodeError, Problem):
        return None
