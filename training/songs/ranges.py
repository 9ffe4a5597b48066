"""The ranges that a kit's numbers are drawn from, by drum and style; see strokes.py for what they mean."""

from collections.abc import Mapping

Ranges = Mapping[str, tuple[float, float]]

# A lo-fi kit is an acoustic one from a cheap sampler.
ALIKE = {"lofi": "acoustic"}

RECIPE_OF = {
    "kick": "skin", "low_tom": "skin", "mid_tom": "skin", "high_tom": "skin", "snare": "snare",
    "clap": "clap", "rim": "rim",
    "closed_hat": "metal", "open_hat": "metal", "pedal_hat": "metal", "crash": "metal", "ride": "metal",
    "shaker": "shaker", "tambourine": "tambourine", "cowbell": "cowbell",
}  # fmt: skip

# What holds for a drum in every style that doesn't say otherwise below.
ANY: Mapping[str, Ranges] = {
    "kick": {
        "tune": (42, 75), "sweep": (1.6, 4), "fall": (0.008, 0.035), "decay": (0.2, 0.6), "modes": (0.1, 0.5),
        "noise": (0.02, 0.15), "click": (0.1, 0.7), "bright": (2000, 7000), "drive": (0.8, 2.5),
    },
    "tom": {
        "tune": (65, 105), "sweep": (1.1, 1.7), "fall": (0.02, 0.08), "decay": (0.3, 1.1), "modes": (0.2, 0.7),
        "noise": (0.02, 0.12), "click": (0.1, 0.5), "bright": (2500, 7000), "drive": (0.6, 2),
    },
    "snare": {
        "tune": (150, 260), "ratio": (1.45, 1.9), "sweep": (1.05, 1.4), "fall": (0.008, 0.03), "decay": (0.1, 0.35),
        "modes": (0.2, 0.8), "wires": (0.4, 1.3), "wire_decay": (0.15, 0.5), "low": (900, 3000), "high": (7000, 15000),
        "click": (0.2, 0.8), "bright": (3000, 9000), "drive": (0.6, 2.5),
    },
    "clap": {
        "hands": (2.5, 5.4), "gap": (0.007, 0.014), "decay": (0.08, 0.4), "low": (500, 1300), "high": (1700, 6000),
        "noise": (0, 1),
    },
    "rim": {
        "tune": (350, 1500), "ratio": (1.3, 3.5), "decay": (0.03, 0.12), "cast": (0, 1), "click": (0.2, 1),
        "bright": (3000, 9000),
    },
    "hat": {
        "tune": (400, 3500), "decay": (0.05, 0.2), "low": (4000, 8500), "noise": (0.1, 0.6), "square": (0, 0),
        "dark": (0.2, 0.7), "attack": (0.0003, 0.001), "cast": (0, 1), "bell": (0, 0), "bell_tune": (3000, 5000),
    },
    "cymbal": {
        "tune": (250, 700), "decay": (1.2, 4.5), "low": (300, 1500), "noise": (0.15, 0.6), "square": (0, 0),
        "dark": (0.2, 0.9), "attack": (0.001, 0.012), "cast": (0, 1), "bell": (0, 0.02), "bell_tune": (500, 1200),
    },
    "shaker": {
        "attack": (0.008, 0.04), "decay": (0.04, 0.14), "low": (3000, 7000), "high": (9000, 16000), "noise": (0.2, 0.9),
    },
    "tambourine": {
        "tune": (3000, 6000), "decay": (0.1, 0.4), "low": (3500, 6500), "noise": (0.1, 0.4), "square": (0, 0),
        "dark": (0.1, 0.5), "attack": (0.0005, 0.003), "cast": (0, 1), "bell": (0, 0), "bell_tune": (3000, 5000),
        "hands": (1.6, 4.4), "gap": (0.008, 0.03),
    },
    "cowbell": {
        "tune": (480, 820), "ratio": (1.38, 1.62), "decay": (0.12, 0.5), "square": (0, 0.2), "click": (0.05, 0.4),
        "bright": (3000, 8000),
    },
}  # fmt: skip

MACHINE_METAL: Ranges = {"square": (0.5, 0.95), "noise": (0.05, 0.4), "tune": (190, 480), "decay": (0.04, 0.14)}

# What a style has instead.
OWN: Mapping[str, Mapping[str, Ranges]] = {
    "acoustic": {},
    "808": {
        "kick": {
            "tune": (36, 58), "sweep": (2, 5), "decay": (0.5, 2), "modes": (0, 0), "noise": (0, 0.01),
            "click": (0, 0.2), "drive": (0.4, 3),
        },
        "tom": {"sweep": (1.2, 1.8), "modes": (0, 0), "noise": (0, 0.1), "click": (0, 0.1)},
        "snare": {"modes": (0, 0), "sweep": (1, 1.1), "wires": (0.35, 0.9), "wire_decay": (0.1, 0.3)},
        "hat": MACHINE_METAL, "cymbal": {"square": (0.3, 0.8), "tune": (190, 480), "low": (1500, 4000)},
        "cowbell": {"square": (0.7, 1)},
    },
    "909": {
        "kick": {"sweep": (3, 7), "fall": (0.015, 0.05), "modes": (0, 0.05), "click": (0.3, 1), "drive": (1, 4)},
        "tom": {"sweep": (1.4, 2.2), "modes": (0, 0.1), "noise": (0.05, 0.3)},
        "snare": {"sweep": (1.2, 2), "modes": (0, 0.1), "wires": (0.5, 1.4), "low": (600, 2000)},
        "hat": {"square": (0.1, 0.5), "decay": (0.04, 0.18)}, "cymbal": {"square": (0, 0.3)},
        "cowbell": {"square": (0.5, 0.9)},
    },
    "electro": {
        "kick": {"sweep": (4, 12), "fall": (0.006, 0.03), "modes": (0, 0), "noise": (0, 0.3), "drive": (1.5, 6)},
        "tom": {"sweep": (1.5, 4), "modes": (0, 0.2), "noise": (0, 0.3), "drive": (1, 4)},
        "snare": {
            "tune": (120, 330), "sweep": (1.2, 3), "modes": (0, 0.3), "wires": (0.4, 2), "low": (400, 4000),
            "drive": (1, 5),
        },
        "hat": {"square": (0, 0.6), "noise": (0.4, 1), "tune": (250, 2500), "decay": (0.03, 0.12)},
        "cymbal": {"noise": (0.5, 1), "low": (1000, 5000)}, "cowbell": {"square": (0.2, 1), "tune": (400, 1200)},
    },
}  # fmt: skip

# Drums that are another one, changed: its name, then factors of its ranges.
KIN: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "low_tom": ("tom", {}),
    "mid_tom": ("tom", {"tune": 1.4, "decay": 0.85}),
    "high_tom": ("tom", {"tune": 1.95, "decay": 0.7}),
    "closed_hat": ("hat", {}),
    "pedal_hat": ("hat", {"decay": 0.8, "low": 0.8, "attack": 4}),
    "open_hat": ("hat", {"decay": 7, "low": 0.9}),
    "crash": ("cymbal", {}),
    "ride": ("cymbal", {"noise": 0.35, "bell": 12, "low": 1.6, "attack": 0.3, "decay": 0.8}),
}


def set_of(drum: str) -> str:
    """What a drum is bought in a set with: hats with hats, toms with toms; the others are on their own."""
    name, _ = KIN.get(drum, (drum, {}))
    return name if name in {"hat", "tom"} else drum


def ranges_of(drum: str, style: str) -> Ranges:
    """The ranges of a drum's numbers in a style of kit."""
    name, factors = KIN.get(drum, (drum, {}))
    ranges = {**ANY[name], **OWN[ALIKE.get(style, style)].get(name, {})}
    return {key: (low * factors.get(key, 1), high * factors.get(key, 1)) for key, (low, high) in ranges.items()}
