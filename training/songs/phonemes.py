"""What is sung: vowels and consonants as numbers, and syllables drawn from them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

# Formants of a grown man in Hz (after Peterson and Barney's averages); a singer scales them by the length of his tract.
VOWELS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "i": (280, 2250, 2950, 3550, 4500),
        "I": (390, 1990, 2550, 3500, 4450),
        "e": (430, 2080, 2600, 3500, 4500),
        "E": (540, 1830, 2480, 3450, 4450),
        "ae": (660, 1710, 2410, 3400, 4400),
        "a": (730, 1120, 2440, 3400, 4400),
        "O": (570, 850, 2410, 3350, 4350),
        "o": (440, 790, 2400, 3300, 4300),
        "U": (440, 1020, 2240, 3250, 4300),
        "u": (310, 820, 2240, 3250, 4250),
        "V": (640, 1190, 2390, 3400, 4400),
        "er": (490, 1350, 1720, 3300, 4300),
        "y": (280, 1850, 2200, 3300, 4300),
        "oe": (420, 1500, 2300, 3300, 4300),
        "@": (500, 1450, 2480, 3400, 4400),
    }
)
SINGLE = ("i", "I", "e", "E", "ae", "a", "O", "o", "U", "u", "V", "er", "y", "oe", "@")
SINGLE_WEIGHTS = (10, 6, 8, 8, 7, 16, 7, 8, 4, 8, 8, 3, 2, 2, 3)
DIPHTHONGS = (("a", "I"), ("a", "U"), ("e", "I"), ("o", "U"), ("O", "I"), ("i", "@"), ("y", "a"), ("u", "a"))

LABIAL = (300.0, 800.0, 2150.0, 3300.0, 4300.0)
DENTAL = (320.0, 1350.0, 2550.0, 3400.0, 4400.0)
ALVEOLAR = (310.0, 1750.0, 2650.0, 3500.0, 4500.0)
PALATAL = (290.0, 2000.0, 2700.0, 3500.0, 4500.0)
VELAR = (300.0, 1850.0, 2200.0, 3300.0, 4400.0)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a consonant. `voicing`, `noise` and `breath` are gains, a vowel's voicing is 1.

    `noise` is a band around `centre` Hz, `width` octaves to each side; `breath` is noise at the glottis, which the
    tract colours; `nasal` opens the nose.
    """

    seconds: float
    voicing: float = 0.0
    noise: float = 0.0
    centre: float = 5000.0
    width: float = 0.6
    breath: float = 0.0
    nasal: float = 0.0


@dataclass(frozen=True, slots=True)
class Consonant:
    """Where the tract is (None: already at the vowel) and what sounds there, phase by phase."""

    locus: tuple[float, ...] | None
    phases: tuple[Phase, ...]


def _plosive(locus: tuple[float, ...], centre: float, width: float, voiced: bool) -> Consonant:
    if voiced:
        return Consonant(locus, (Phase(0.045, voicing=0.12), Phase(0.012, 0.2, 0.35, centre, width)))
    burst = Phase(0.014, noise=0.9, centre=centre, width=width)
    return Consonant(locus, (Phase(0.055), burst, Phase(0.035, noise=0.08, centre=centre, width=width, breath=0.22)))


CONSONANTS: Mapping[str, Consonant] = MappingProxyType(
    {
        "s": Consonant(ALVEOLAR, (Phase(0.11, 0.0, 0.36, 7200, 0.45),)),
        "sh": Consonant(PALATAL, (Phase(0.11, 0.0, 0.36, 3700, 0.5),)),
        "f": Consonant(LABIAL, (Phase(0.09, 0.0, 0.13, 7000, 1.3),)),
        "th": Consonant(DENTAL, (Phase(0.08, 0.0, 0.10, 6500, 1.2),)),
        "h": Consonant(None, (Phase(0.07, 0.05, breath=0.30),)),
        "z": Consonant(ALVEOLAR, (Phase(0.08, 0.3, 0.2, 7200, 0.45),)),
        "v": Consonant(LABIAL, (Phase(0.06, 0.35, 0.06, 6500, 1.2),)),
        "dh": Consonant(DENTAL, (Phase(0.045, 0.4, 0.04, 6000, 1.2),)),
        "zh": Consonant(PALATAL, (Phase(0.08, 0.3, 0.2, 3700, 0.5),)),
        "m": Consonant((270, 1000, 2150, 3000, 4200), (Phase(0.075, 0.5, nasal=1.0),)),
        "n": Consonant((270, 1450, 2450, 3200, 4300), (Phase(0.07, 0.5, nasal=1.0),)),
        "ng": Consonant((280, 1900, 2300, 3100, 4300), (Phase(0.08, 0.45, nasal=1.0),)),
        "l": Consonant((360, 1150, 2700, 3400, 4400), (Phase(0.065, 0.6),)),
        "r": Consonant((360, 1150, 1600, 3200, 4300), (Phase(0.07, 0.6),)),
        "w": Consonant((300, 650, 2200, 3200, 4300), (Phase(0.07, 0.55),)),
        "j": Consonant((270, 2250, 3000, 3600, 4500), (Phase(0.06, 0.6),)),
        "p": _plosive(LABIAL, 1300, 1.2, voiced=False),
        "t": _plosive(ALVEOLAR, 4800, 0.7, voiced=False),
        "k": _plosive(VELAR, 2300, 0.5, voiced=False),
        "b": _plosive(LABIAL, 1000, 1.2, voiced=True),
        "d": _plosive(ALVEOLAR, 4200, 0.8, voiced=True),
        "g": _plosive(VELAR, 2100, 0.6, voiced=True),
        "ch": Consonant(PALATAL, (Phase(0.045), Phase(0.07, 0.0, 0.5, 3800, 0.55))),
        "dj": Consonant(PALATAL, (Phase(0.04, 0.12), Phase(0.045, 0.2, 0.3, 3800, 0.55))),
    }
)
ONSETS: tuple[tuple[str, ...], ...] = (
    (), ("s",), ("sh",), ("f",), ("th",), ("h",), ("z",), ("v",), ("dh",), ("m",), ("n",), ("l",), ("r",), ("w",),
    ("j",), ("p",), ("t",), ("k",), ("b",), ("d",), ("g",), ("ch",), ("dj",), ("s", "t"), ("t", "r"), ("p", "l"),
    ("k", "r"), ("s", "l"), ("f", "r"), ("g", "l"), ("s", "k"), ("s", "n"), ("t", "w"),
)  # fmt: skip
ONSET_WEIGHTS = (14, 7, 3, 4, 1, 6, 1, 3, 5, 6, 6, 7, 5, 6, 5, 3, 6, 5, 5, 6, 3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1)
PLAIN_ONSETS: tuple[tuple[str, ...], ...] = ((), (), ("h",), ("w",), ("l",), ("n",))
CODAS: tuple[tuple[str, ...], ...] = (
    (), ("n",), ("m",), ("s",), ("t",), ("k",), ("l",), ("r",), ("ng",), ("d",), ("v",), ("z",), ("sh",), ("f",),
)  # fmt: skip
CODA_WEIGHTS = (46, 8, 6, 6, 7, 4, 6, 5, 5, 4, 2, 3, 1, 1)


@dataclass(frozen=True, slots=True)
class Syllable:
    """`onset` sounds before the note, `vowels` (one, or two of a diphthong) on it, `coda` at its end."""

    onset: tuple[str, ...]
    vowels: tuple[str, ...]
    coda: tuple[str, ...] = ()


def draw_lyrics(legato: Sequence[bool], rng: np.random.Generator) -> tuple[Syllable, ...]:
    """A syllable for each note. One that is `legato` to the note before may go on with its vowel (a melisma).

    Some songs have many words, some only a few, as in a refrain, and some none but a vowel.
    """
    lyrics: list[Syllable] = []
    melisma = rng.uniform(0.05, 0.4)
    style = rng.random()
    few = [draw_syllable(rng) for _ in range(rng.integers(1, 5))]
    if style < 0.12:
        few = [Syllable(onset, few[0].vowels[:1]) for onset in PLAIN_ONSETS]
    for tied in legato:
        if tied and rng.random() < melisma:
            before = lyrics[-1]
            lyrics[-1] = Syllable(before.onset, before.vowels[:1])
            lyrics.append(Syllable((), before.vowels, before.coda))
        else:
            lyrics.append(few[rng.integers(len(few))] if style < 0.3 else draw_syllable(rng))
    return tuple(lyrics)


def draw_syllable(rng: np.random.Generator) -> Syllable:
    if rng.random() < 0.3:
        vowels: tuple[str, ...] = DIPHTHONGS[rng.integers(len(DIPHTHONGS))]
    else:
        vowels = (SINGLE[_weighted(SINGLE_WEIGHTS, rng)],)
    return Syllable(ONSETS[_weighted(ONSET_WEIGHTS, rng)], vowels, CODAS[_weighted(CODA_WEIGHTS, rng)])


def _weighted(weights: Sequence[int], rng: np.random.Generator) -> int:
    return int(rng.choice(len(weights), p=np.asarray(weights) / sum(weights)))
