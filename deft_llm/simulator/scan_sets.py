"""What simulated scans show: six expressions, any action units, micro-expressions.

The units of the expressions follow EMFACS; strengths, variation and micro-expressions are our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deft_llm.scans.scan import Scan
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.ict_head.files import head_file
from deft_llm.simulator.scans import Scanner, Sitter, draw_scanner

SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
FIVE = ("positive", "negative", "surprise", "repression", "others")
"""The classes of 4DME, of which a clip may have several."""
LEVELS = (0.4, 0.6, 0.8, 1.0)
"""Activation at the intensities 1 to 4."""
COMBINATIONS: dict[str, tuple[str, ...]] = {
    "anger": ("4+5+7+23", "4+7+24", "4+5+7+17+24", "4+7+17+23"),
    "disgust": ("9+10", "9+17", "9+10+17", "9+10+25"),
    "fear": ("1+2+4+5+20+25", "1+2+4+5+20", "1+2+4+5+7+20+26", "1+4+5+20+25"),
    "happiness": ("6+12", "6+12+25", "12+25", "6+7+12+25"),
    "sadness": ("1+4+15", "1+4+15+17", "1+15+17", "4+15+17"),
    "surprise": ("1+2+5+26", "1+2+5+25", "1+2+26", "1+2+5+27"),
}
MICRO: dict[str, tuple[str, ...]] = {
    "positive": ("12", "6+12"),
    "negative": ("4", "4+7", "9", "4+15", "10"),
    "surprise": ("1+2", "1+2+5"),
    "repression": ("14", "14+17", "17+24"),
    "others": ("18", "20", "22+25"),
}
HELD_OUT = (
    "1+2+12",
    "4+12+25",
    "9+15",
    "5+18",
    "2+10+26",
    "1+6+20",
    "4+14",
    "12+17",
    "6+24",
    "15+26",
)
"""Combinations that no set shows unless it is asked to: for naming what was never seen."""
SEEN = ("1+4+12", "2+5+15", "9+12", "4+18", "10+20", "6+17", "1+14", "7+12+26", "5+24", "15+25")
"""Others of the same kind that mixed sets show often."""
_FREE = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27)
_SPREAD = (0.85, 1.1)  # of a unit's strength around that of the expression
_MICRO_STRENGTH = (0.15, 0.5)
_TWO_EMOTIONS = 0.3  # share of micro-expressions with two


@dataclass(frozen=True)
class Performance:
    """What one sitter does before the scanner.

    Attributes:
        head: Name of the head.
        identity: Seed of the identity.
        aus: AU number and its strength at the apex.
        emotions: Names, none for a combination of units without one.
        level: 1 to 4, 0 where there are no intensities.
        scanner: How it is scanned.
        curve: Share of the strength in each frame; (1.0,) for a 3D scan.
    """

    head: str
    identity: int
    aus: tuple[tuple[int, float], ...]
    emotions: tuple[str, ...]
    level: int
    scanner: Scanner
    curve: tuple[float, ...] = (1.0,)

    def range_image(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Points and colours (H, W, 3) that a scanner measures at the apex, see `Sitter`."""
        activations = {str(au): strength for au, strength in self.aus}
        return _sitter(self.head, self.identity).range_image(activations, self.scanner)

    def scans(self) -> list[Scan]:
        """The frames, each with its own noise."""
        sitter = _sitter(self.head, self.identity)
        shown = []
        for number, share in enumerate(self.curve):
            scanner = Scanner(**{**vars(self.scanner), "seed": self.scanner.seed + number})
            shown.append(sitter.scan({str(au): share * s for au, s in self.aus}, scanner))
        return shown


@lru_cache(maxsize=2)
def _head(name: str) -> Head:
    return load_head(name, head_file(name))


@lru_cache(maxsize=2)
def _sitter(name: str, identity: int) -> Sitter:
    return Sitter.of(_head(name), identity)


def units(combination: str) -> tuple[int, ...]:
    """The numbers of a combination: "1+4" -> (1, 4)."""
    return tuple(int(number) for number in combination.split("+") if number)


def _strengths(
    rng: np.random.Generator, aus: Iterable[int], level: float
) -> tuple[tuple[int, float], ...]:
    return tuple((au, float(level * rng.uniform(*_SPREAD))) for au in aus)


def draw_expression(
    rng: np.random.Generator, head: str, identity: int, emotion: str, level: int, scanner: Scanner
) -> Performance:
    """One of the six expressions (or "neutral") at an intensity of 1 to 4."""
    if emotion == "neutral":
        return Performance(head, identity, (), (emotion,), 0, scanner)
    options = COMBINATIONS[emotion]
    chosen = units(options[int(rng.integers(len(options)))])
    aus = _strengths(rng, chosen, LEVELS[level - 1])
    return Performance(head, identity, aus, (emotion,), level, scanner)


def draw_combination(
    rng: np.random.Generator, head: str, identity: int, scanner: Scanner, among: Sequence[str] = ()
) -> Performance:
    """A combination of units without an emotion.

    Args:
        rng: Source of randomness.
        head: Name of the head.
        identity: Seed of the identity.
        scanner: How it is scanned.
        among: Combinations to choose from; without any, half are of `SEEN` and half are one to
            four random units that hold no combination of `HELD_OUT`.
    """
    options = among or (SEEN if rng.random() < 0.5 else ())
    chosen = units(options[int(rng.integers(len(options)))]) if options else _random_units(rng)
    level = float(rng.uniform(LEVELS[0], LEVELS[-1])) if not among else LEVELS[-1]
    return Performance(head, identity, _strengths(rng, chosen, level), (), 0, scanner)


def _random_units(rng: np.random.Generator) -> tuple[int, ...]:
    held = [set(units(c)) for c in HELD_OUT]
    while True:
        count = int(rng.integers(1, 5))
        chosen = tuple(sorted(int(a) for a in rng.choice(_FREE, count, replace=False)))
        if not any(h <= set(chosen) for h in held):
            return chosen


def draw_micro(
    rng: np.random.Generator, head: str, identity: int, frames: int, scanner: Scanner
) -> Performance:
    """A micro-expression in 4D, with one or two of `FIVE`, which rises, falls and ends at rest."""
    count = 2 if rng.random() < _TWO_EMOTIONS else 1
    emotions = tuple(str(e) for e in rng.choice(FIVE, count, replace=False))
    aus: dict[int, float] = {}
    for emotion in emotions:
        strength = float(np.exp(rng.uniform(*np.log(_MICRO_STRENGTH))))
        options = MICRO[emotion]
        aus.update(dict(_strengths(rng, units(options[int(rng.integers(len(options)))]), strength)))
    curve = draw_curve(rng, frames)
    return Performance(head, identity, tuple(aus.items()), emotions, 0, scanner, curve)


def draw_curve(rng: np.random.Generator, frames: int) -> tuple[float, ...]:
    """Neutral, a rise, an apex, a fall: raised cosines."""
    onset = rng.uniform(0.05, 0.2) * frames
    apex = onset + rng.uniform(0.25, 0.4) * frames
    offset = min(apex + rng.uniform(0.2, 0.4) * frames, frames - 1.0)
    t = np.arange(frames, dtype=np.float64)
    up, down = (
        np.clip((t - onset) / (apex - onset), 0, 1),
        np.clip((offset - t) / (offset - apex), 0, 1),
    )
    curve: NDArray[np.float64] = 0.5 - 0.5 * np.cos(np.pi * np.where(t <= apex, up, down))
    return tuple(float(value) for value in curve)


def noise_range(noise: tuple[float, float]) -> tuple[float, float]:
    """Check a range for :func:`scanner_of`.

    Raises:
        ValueError: If it is none, or starts at 0, which no logarithm has.
    """
    low, high = noise
    if noise != (0, 0) and not 0 < low <= high < float("inf"):
        raise ValueError(
            f"{low:g} to {high:g}; expected the least and the largest SD, mm, above 0, such as "
            "0.05 0.3; or 0 0 for a perfect scanner"
        )
    return noise


def scanner_of(rng: np.random.Generator, noise: tuple[float, float], holes: float) -> Scanner:
    """A scanner with noise from a range of mm; a perfect one if the range is (0, 0)."""
    return (
        draw_scanner(rng, noise, holes)
        if noise[1] > 0
        else Scanner(seed=int(rng.integers(1 << 31)))
    )
