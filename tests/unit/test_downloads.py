"""Names of files that are sent: safe wherever they are saved, and legal in a header."""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamsrv.media.formats import FORMATS
from streamsrv.web.downloads import content_disposition, safe_name

# RFC 6266 section 4.1 in the one form that we write: RFC 9110's quoted-string without escapes, RFC 8187's ext-value.
HEADER = re.compile(
    r'attachment; filename="([ !#-\[\]-~]*)"; filename\*=UTF-8\'\'((?:%[0-9A-F]{2}|[A-Za-z0-9!#$&+.^_`|~-])*)'
)
SUFFIXES = sorted({form.suffix for form in FORMATS.values()})
# Letters of all scripts, and all that is none: controls, directions, halves, what isn't assigned, slashes and quotes.
ODD = st.sampled_from(
    list("\u202e\u2066\u200f\u061c\ufeff\u200d\u00ad\ud800\u2028\u0085\x00\x1b\x7f\r\n\t/\\\":*?<>|.~-%' ")
)
NAMES = st.text(st.characters(codec=None) | ODD, max_size=400)
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@example(stem="a" * 251 + "\U0001f3b5", suffix=".mp3")
@example(stem="\u2025\u2024bashrc", suffix=".mp3")
@given(stem=NAMES, suffix=st.sampled_from(SUFFIXES))
def test_any_name_becomes_a_safe_one(stem: str, suffix: str) -> None:
    """Whatever the sender calls a file, its name has no folder, no hidden sign, no wildcard, and its suffix stays."""
    name = safe_name(stem, suffix)
    assert name.endswith(suffix)
    assert len(name) > len(suffix)
    assert len(name.encode()) <= 255
    assert not name.startswith((".", " "))
    assert not set(name) & set('/\\:*?"<>|')
    assert all(not unicodedata.category(letter).startswith("C") or letter in "\u200c\u200d" for letter in name)
    assert all(unicodedata.bidirectional(letter) not in BIDI for letter in name)
    assert all(letter == " " or not letter.isspace() for letter in name)
    assert safe_name(name.removesuffix(suffix), suffix) == name


@example(stem="\u2024", suffix=".mp3")
@given(stem=NAMES, suffix=st.sampled_from(SUFFIXES))
def test_any_name_makes_a_legal_header(stem: str, suffix: str) -> None:
    """The header is ASCII by the grammar; its long spelling is just the name, its short one safe, with the suffix."""
    name = safe_name(stem, suffix)
    match = HEADER.fullmatch(content_disposition(name))
    assert match is not None
    plain, extended = match.groups()
    assert unquote_to_bytes(extended).decode() == name
    assert plain.endswith(suffix)
    assert not set(plain) & set('/\\:*?"<>|%')


@example(stem="\u2024bashrc")
@given(stem=NAMES)
def test_the_plain_spelling_hides_no_file(stem: str) -> None:
    """Where the plain spelling is all that is understood, the file isn't hidden either."""
    match = HEADER.fullmatch(content_disposition(safe_name(stem, ".mp3")))
    assert match is not None
    assert not match[1].startswith((".", " "))


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("song", "song.wav"),
        ("", "audio.wav"),
        (" . ", "audio.wav"),
        ("..", "audio.wav"),
        ("...hidden", "hidden.wav"),
        ("../../etc/passwd", "_.._etc_passwd.wav"),
        ("C:\\Music\\song", "C__Music_song.wav"),
        ("a\r\nSet-Cookie: b", "a  Set-Cookie_ b.wav"),
        ("exe\u202e3pm", "exe3pm.wav"),
        ("\ud83d half", "half.wav"),
        ("Jóga \u2013 Björk", "Jóga \u2013 Björk.wav"),
        ("日本語", "日本語.wav"),
        ("\U0001f468\u200d\U0001f3a4", "\U0001f468\u200d\U0001f3a4.wav"),
        ("x" * 10_000, "x" * 251 + ".wav"),
        ("é" * 10_000, "é" * 125 + ".wav"),
        ("🎵" * 10_000, "🎵" * 62 + ".wav"),
    ],
)
def test_names(stem: str, name: str) -> None:
    """What can be shown stays as it is, whole characters of it up to 255 bytes."""
    assert safe_name(stem, ".wav") == name


@pytest.mark.parametrize(
    ("name", "plain", "extended"),
    [
        ("song.mp3", "song.mp3", "song.mp3"),
        ("Jóga (live).mp3", "Joga (live).mp3", "J%C3%B3ga%20%28live%29.mp3"),
        ("日本.mp3", "__.mp3", "%E6%97%A5%E6%9C%AC.mp3"),
        ("100%.mp3", "100_.mp3", "100%25.mp3"),
        ("it's.mp3", "it_s.mp3", "it%27s.mp3"),
        ("%41.mp3", "_41.mp3", "%2541.mp3"),
    ],
)
def test_both_spellings(name: str, plain: str, extended: str) -> None:
    """The plain spelling has letters without accents, and nothing that browsers decode (RFC 6266 appendix D)."""
    names = f"filename=\"{plain}\"; filename*=UTF-8''{extended}"
    assert content_disposition(name) == f"attachment; {names}"
    assert content_disposition(name, "inline") == f"inline; {names}"
