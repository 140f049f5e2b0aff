"""Simulated scans in the layouts of the datasets: the counterpart of the readers in `scans.py`.

Written apart from the readers, so that each checks the other. Every face is scanned as a scanner
would: with noise, holes, a crop and a pose of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import Field, field_validator

from deft_llm.config import Settings
from deft_llm.corpora.layouts import LAYOUTS
from deft_llm.corpora.scans import SCAN_CORPORA
from deft_llm.corpora.synthetic import write_sheet
from deft_llm.errors import UserError, did_you_mean
from deft_llm.files import replacing_folder
from deft_llm.parallel import parallel_map
from deft_llm.scans.range_images import write_bnt
from deft_llm.scans.reading import write_scan
from deft_llm.simulator.scan_sets import (
    LEVELS,
    SIX,
    Performance,
    draw_curve,
    draw_expression,
    draw_micro,
    noise_range,
    scanner_of,
)

_BU3DFE = {
    **{"AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happiness", "SA": "sadness"},
    "SU": "surprise",
}
_BU4DFE = {
    **{"Angry": "anger", "Disgust": "disgust", "Fear": "fear", "Happy": "happiness"},
    **{"Sad": "sadness", "Surprise": "surprise"},
}
_BOSPHORUS = {
    **{"N_N": "neutral", "E_ANGER": "anger", "E_DISGUST": "disgust", "E_FEAR": "fear"},
    **{"E_HAPPY": "happiness", "E_SADNESS": "sadness", "E_SURPRISE": "surprise"},
}
_BP4D = {
    **{"T1": "happiness", "T8": "disgust", "T2": "sadness", "T3": "surprise"},
    **{"T5": "fear", "T7": "anger"},
}
_RACES = ("WH", "AE", "AM", "BL", "IN", "LA")


class ScanLayoutSettings(Settings):
    """What is written.

    Attributes:
        subjects: Number of subjects; they take the heads in turn.
        scans: Scans or sequences of a subject at most; None for all of the dataset's.
        frames: Frames of a sequence.
        heads: Names of head models.
        noise: Range of the scanner's noise, SD in mm; (0, 0) is a perfect scanner.
        holes: Largest share of the surface that is missing.
        first_identity: Seed of the first face.
        seed: Same seed, same bytes.
    """

    subjects: int = Field(default=4, ge=1)
    scans: int | None = Field(default=None, ge=1)
    frames: int = Field(default=12, ge=3)
    heads: tuple[str, ...] = Field(default=("own",), min_length=1)
    noise: tuple[float, float] = (0.05, 0.3)
    holes: float = Field(default=0.1, ge=0, le=0.5)
    first_identity: int = 1_000
    seed: int = Field(default=0, ge=0)

    @field_validator("noise")
    @classmethod
    def _is_a_range(cls, noise: tuple[float, float]) -> tuple[float, float]:
        return noise_range(noise)


@dataclass(frozen=True)
class _Item:
    """One scan or sequence: what is shown, and where it goes."""

    performance: Performance
    path: str
    row: dict[str, Any] | None = None


def write_scan_corpus(name: str, folder: Path, settings: ScanLayoutSettings, workers: int) -> int:
    """Write a dataset with simulated content.

    Args:
        name: One of ``SCAN_CORPORA``.
        folder: New folder.
        settings: What is written.
        workers: Processes.

    Returns:
        Number of scans or sequences.

    Raises:
        UserError: If the name is unknown, the folder exists, or a writer needs an extra.
    """
    if name not in _ITEMS:
        known = ", ".join(SCAN_CORPORA)
        hint = did_you_mean(name, SCAN_CORPORA)
        raise UserError(f"unknown dataset of scans {name!r}, expected one of {known}{hint}")
    if folder.exists():
        raise UserError(f"{folder}: exists already; give a new folder")
    with replacing_folder(folder) as partial_folder:
        write = partial(_write_subject, name, partial_folder, settings)
        rows = list(parallel_map(write, range(settings.subjects), workers))
        if name == "four_dme_4d":
            sheet = LAYOUTS["four_dme"].sheets[0]
            every = [row for count, some in rows for row in some]
            write_sheet(partial_folder / sheet.file, sheet, every, {})
    return sum(count for count, _ in rows)


def _write_subject(
    name: str, folder: Path, settings: ScanLayoutSettings, number: int
) -> tuple[int, list[dict[str, Any]]]:
    """All scans of one subject: their number, and the rows of the sheet."""
    items = list(islice(_ITEMS[name](settings, number), settings.scans))
    for item in items:
        _write_item(folder / item.path, item.performance)
    return len(items), [item.row for item in items if item.row is not None]


def _write_item(path: Path, performance: Performance) -> None:
    """A file for a scan; for a sequence a path with the number of the frame in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".bnt":
        points, colours = performance.range_image()
        picture = path.with_suffix(".png")
        cv2.imwrite(str(picture), np.round(255 * colours[..., ::-1]).astype(np.uint8))
        write_bnt(path, points, picture.name)
        return
    for number, scan in enumerate(performance.scans()):
        frame = path.with_name(path.name.format(n=number))
        write_scan(frame, scan)


class _Subject:
    """Draws what one subject shows."""

    def __init__(self, settings: ScanLayoutSettings, number: int) -> None:
        self.settings, self.number = settings, number
        self.head = settings.heads[number % len(settings.heads)]
        self.identity = settings.first_identity + number
        self.rng = np.random.default_rng([settings.seed, number, 91])
        self.letter = "FM"[number % 2]

    def expression(self, word: str, level: int = len(LEVELS), moving: bool = False) -> Performance:
        scanner = scanner_of(self.rng, self.settings.noise, self.settings.holes)
        shown = draw_expression(self.rng, self.head, self.identity, word, level, scanner)
        curve = draw_curve(self.rng, self.settings.frames) if moving else (1.0,)
        return replace(shown, curve=curve)

    def micro(self) -> Performance:
        scanner = scanner_of(self.rng, self.settings.noise, self.settings.holes)
        return draw_micro(self.rng, self.head, self.identity, self.settings.frames, scanner)


def _bu3dfe(settings: ScanLayoutSettings, number: int) -> Iterator[_Item]:
    subject = _Subject(settings, number)
    race = _RACES[number % len(_RACES)]
    name = f"{subject.letter}{number // 2 + 1:04d}"
    for level in range(len(LEVELS), 0, -1):
        for code, word in _BU3DFE.items():
            file = f"{name}/{name}_{code}{level:02d}{race}_F3D.wrl"
            yield _Item(subject.expression(word, level), file)
    yield _Item(subject.expression("neutral"), f"{name}/{name}_NE00{race}_F3D.wrl")


def _bosphorus(settings: ScanLayoutSettings, number: int) -> Iterator[_Item]:
    subject, name = _Subject(settings, number), f"bs{number:03d}"
    for code, word in _BOSPHORUS.items():
        yield _Item(subject.expression(word), f"{name}/{name}_{code}_0.bnt")


def _bu4dfe(settings: ScanLayoutSettings, number: int) -> Iterator[_Item]:
    subject = _Subject(settings, number)
    name = f"{subject.letter}{number // 2 + 1:03d}"
    for folder, word in _BU4DFE.items():
        shown = subject.expression(word, moving=True)
        yield _Item(shown, f"{name}/{folder}/{{n:03d}}.wrl")


def _bp4d(settings: ScanLayoutSettings, number: int) -> Iterator[_Item]:
    subject = _Subject(settings, number)
    name = f"{subject.letter}{number // 2 + 1:03d}"
    for task, word in _BP4D.items():
        shown = subject.expression(word, int(subject.rng.integers(2, 5)), moving=True)
        yield _Item(shown, f"{name}/{task}/{{n:04d}}.obj")


def _four_dme(settings: ScanLayoutSettings, number: int) -> Iterator[_Item]:
    subject, layout = _Subject(settings, number), LAYOUTS["four_dme"]
    for k in range(1, 1 + (settings.scans or len(SIX))):
        shown = subject.micro()
        place = {"s": number + 1, "v": 1, "k": k}
        clip = layout.clip.format(**place)
        row = {
            **place,
            **{"onset": 0, "apex": int(np.argmax(shown.curve)), "offset": settings.frames - 1},
            "aus": "+".join(f"AU{au}" for au, _ in shown.aus),
            "word": "+".join(emotion.capitalize() for emotion in shown.emotions),
        }
        yield _Item(shown, f"4D_micro/{number + 1:02d}/{clip}/Frame_{{n:09d}}.obj", row)


_ITEMS: dict[str, Callable[[ScanLayoutSettings, int], Iterator[_Item]]] = {
    "bu3dfe": _bu3dfe,
    "bosphorus": _bosphorus,
    "bu4dfe": _bu4dfe,
    "bp4d": _bp4d,
    "four_dme_4d": _four_dme,
}
