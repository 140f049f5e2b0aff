"""Simulated clips in each corpus's own layout: sheets, folders, names, bit depth.

Code that reads a corpus or evaluates on one can run on these clips without a licence. The motion of
each label follows the simulator's priors; words and layouts are in ``layouts.py``.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, product
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deft_llm import facs
from deft_llm.clip import Annotation, Interval
from deft_llm.corpora.base import MICRO, SIMULATED_MARK, load_class
from deft_llm.corpora.layouts import LAYOUTS, TYPES, Layout, SheetLayout
from deft_llm.errors import UserError
from deft_llm.files import replacing, write_text
from deft_llm.simulator.scene.clips import ClipSpec, SimulatedClip, draw_spec, render_many
from deft_llm.simulator.scene.performance import Curve

Frames = NDArray[np.uint8]
Renderer = Callable[[ClipSpec], Frames]
Mode = Literal["own", "rgb", "grey", "grey16", "rgba"]
#: Emotions that the simulator has no AUs for -> those that it shows instead.
_SHOWN = {"positive": "happiness", "negative": "disgust", "repression": "sadness"}
#: Longest simulated clip, frames: keeps rendering fast; real clips at 200 fps are longer.
LONGEST_CLIP = 60
#: Number of the first face. Other simulated sets have theirs elsewhere, so that no face is shared.
_FACES = 700_000
_CLIPS = 1000  # seeds of one person's clips
_MEGC_PARTS = {"casme2": "CASME2", "smic_hs": "SMIC", "samm": "SAMM"}


@dataclass(frozen=True)
class Written:
    """One clip as it was written, which a reader has to reproduce.

    Attributes:
        annotation: Its coding; the interval counts the files of the folder from 0.
        folder: Folder of its frames.
        spec: Recipe of the simulated clip.
    """

    annotation: Annotation
    folder: Path
    spec: ClipSpec


def write_corpus(
    name: str,
    root: Path,
    *,
    subjects: int = 4,
    clips: int = 4,
    seed: int = 0,
    renderer: Renderer | None = None,
    mode: Mode = "own",
    workers: int = 1,
) -> tuple[Written, ...]:
    """Write a simulated corpus.

    Args:
        name: A key of ``CORPORA``.
        root: Output folder, new or empty.
        subjects: Number of subjects.
        clips: Clips per subject, at least 2; an even number fills every long video.
        seed: Number of people before the first. The same person has the same clips under every
            seed, so that two corpora never give one name to different clips.
        renderer: Recipe -> frames uint8 RGB (T, H, W, 3) with T = ``spec.curve.frames``; None for
            the simulator.
        mode: Pixel format: "own" for that of the corpus, or PNG in 8-bit colour, 8- or 16-bit
            grey, or colour with alpha.
        workers: Processes that render; ignored with `renderer`.

    Returns:
        The clips written, in the order of the sheet. A stop or an error leaves the folder empty.

    Raises:
        UserError: If the corpus is unknown or has no layout, or the folder is not empty.
    """
    load_class(name)  # fails on an unknown name before anything is written
    if name not in (*LAYOUTS, "megc2019"):
        raise UserError(
            f"{name}: has a reader and no writer; add its layout to deft_llm/corpora/layouts.py, "
            f"or take one of {', '.join(LAYOUTS)}"
        )
    if root.exists() and any(root.iterdir()):
        raise UserError(f"{root}: not empty; give a new folder for the simulated corpus")
    with _emptied_after_failure(root):
        return _write_all(name, root, _Order(subjects, clips, seed, renderer, mode, workers))


@contextmanager
def _emptied_after_failure(root: Path) -> Iterator[None]:
    """Part of a corpus is worth nothing: its sheet comes last, and a second run wants it empty."""
    try:
        yield
    except BaseException:  # Ctrl-C too
        for path in root.iterdir() if root.exists() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _write_all(name: str, root: Path, order: _Order) -> tuple[Written, ...]:
    if name != "megc2019":
        found = _write(name, root, order)
        _mark(root, order)
        return found
    written: list[Written] = []
    for i, (part, folder) in enumerate(_MEGC_PARTS.items()):
        # The offset keeps the subjects of the parts distinct.
        written += _write(part, root / folder, replace(order, seed=order.seed + 1000 * i))
        _mark(root / folder, order)
    kept = [w for w in written if facs.to_three(w.annotation.emotion) is not None]
    _write_csv(root / "combined_3class_gt.csv", [_megc_row(w.annotation) for w in kept])
    _mark(root, order)
    return tuple(kept)


def _megc_row(annotation: Annotation) -> list[Any]:
    label = facs.to_three(annotation.emotion)
    assert label is not None
    dataset = annotation.dataset.removesuffix("_hs")
    # The list names CASME II's clips without their subject.
    clip = annotation.clip.removeprefix(f"{annotation.subject}_" if dataset == "casme2" else "")
    return [dataset, annotation.subject, clip, facs.THREE_CLASSES.index(label)]


@dataclass(frozen=True)
class _Order:
    """The arguments of `write_corpus`."""

    subjects: int
    clips: int
    seed: int
    renderer: Renderer | None
    mode: Mode
    workers: int

    def rendered(self, specs: list[ClipSpec]) -> Iterator[Frames]:
        """Frames of each recipe."""
        if self.renderer is not None:
            return map(self.renderer, specs)
        return render_many(specs, _frames, self.workers)


def _mark(root: Path, order: _Order) -> None:
    """Mark a folder that the simulator rendered, so that no table mixes it with a real corpus."""
    if order.renderer is None:
        drawn = {"subjects": order.subjects, "clips": order.clips, "seed": order.seed}
        write_text(root / SIMULATED_MARK, json.dumps(drawn) + "\n")


def _write(name: str, root: Path, order: _Order) -> tuple[Written, ...]:
    layout, fps = LAYOUTS[name], load_class(name).fps
    plans = list(_plans(layout, fps or 200.0, order))
    rendered = order.rendered([spec for spec, _ in plans])
    written: list[Written] = []
    rows: list[dict[str, Any]] = []
    progress = tqdm(rendered, desc=f"simulate {name}", total=len(plans), unit="clip")
    pairs = zip(plans, progress, strict=True)
    # One group per folder of frames; clips are rendered as they are taken from the iterator.
    for _, group in groupby(pairs, key=lambda pair: (pair[0][1]["s"], pair[0][1]["v"])):
        # The clips of a long video follow each other in one folder; `start` counts its frames.
        start = 0
        for (spec, fields), frames in group:
            folder = root / layout.folder.format(**fields)
            folder.mkdir(parents=True, exist_ok=True)
            write_images(folder, frames, start, layout, fields, order.mode)
            i, at = spec.curve.interval, layout.first + start
            fields |= {"onset": at + i.onset, "apex": at + i.apex, "offset": at + i.offset}
            fields["frames"] = i.offset - i.onset + 1
            annotation = Annotation(
                dataset=name,
                subject=layout.subject.format(**fields),
                clip=layout.clip.format(**fields),
                interval=Interval(start + i.onset, start + i.apex, start + i.offset),
                aus=facs.sort_aus(spec.aus) if layout.codes_aus else (),
                emotion=layout.words[fields["word"]],
                fps=fps,
            )
            written.append(Written(annotation, folder, spec))
            rows.append(fields)
            start += len(frames)
    for sheet in layout.sheets:
        rules = naming_rules(rows) if layout.naming_rules else {}
        write_sheet(root / sheet.file, sheet, rows, rules)
    return tuple(written)


def _plans(layout: Layout, fps: float, order: _Order) -> Iterator[tuple[ClipSpec, dict[str, Any]]]:
    """Recipe and row fields of every clip; cycles through the labels and fills each video."""
    words = list(layout.words)
    for i, k in product(range(order.subjects), range(order.clips)):
        number = order.seed + i + 1
        word = words[(number + k) % len(words)]
        emotion = layout.words[word]
        shown = _SHOWN.get(emotion, emotion)
        # By person and number alone: see write_corpus.
        drawn = draw_spec(_CLIPS * number + k, identity=_FACES + number, emotion=shown)
        video = 1 + k // layout.per_video
        # CAS(ME)2 numbers a subject differently in sheet and folders, hence a second number.
        fields: dict[str, Any] = {"s": number, "t": number + 14, "k": k + 1, "v": video}
        fields |= {"letter": letters(video), "word": word, "n": 0, **TYPES[MICRO]}
        fields["aus"] = "+".join(facs.sort_aus(drawn.aus))
        yield _at_rate(drawn, fps), fields


def letters(number: int) -> str:
    """The name of a video: 1 -> "a", 26 -> "z", 27 -> "aa"."""
    number, last = divmod(number - 1, 26)
    return (letters(number) if number else "") + chr(ord("a") + last)


def _at_rate(spec: ClipSpec, fps: float) -> ClipSpec:
    """The recipe at another frame rate; the expression keeps its duration if frames allow."""
    curve = spec.curve
    factor = min(fps / spec.fps, LONGEST_CLIP / curve.frames)
    # Frames are never removed; only the nominal rate changes.
    if factor <= 1:
        return replace(spec, fps=fps)
    onset, apex, offset = (round(t * factor) for t in (curve.onset, curve.apex, curve.offset))
    frames = offset + 1 + round((curve.frames - curve.offset - 1) * factor)
    stretched = Curve(frames, onset, apex, offset, curve.onset_skew, curve.offset_skew)
    return replace(spec, fps=fps, curve=stretched)


def _frames(clip: SimulatedClip) -> Frames:
    return clip.clip.frames


def write_images(
    folder: Path,
    frames: Iterable[Frames],
    start: int,
    layout: Layout,
    fields: dict[str, Any],
    mode: Mode = "own",
) -> int:
    """Write frames as the numbered images of a corpus; ``start`` frames are there already.

    Returns:
        The number of frames written.
    """
    i = -1
    shape = partial(_pixels, mode=("grey" if layout.grey else "rgb") if mode == "own" else mode)
    for i, frame in enumerate(frames):
        name = Path(layout.frame.format(**{**fields, "n": layout.first + start + i}))
        file = folder / (name if mode == "own" else name.with_suffix(".png"))
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if file.suffix == ".jpg" else []
        done, data = cv2.imencode(file.suffix, shape(frame), quality)
        assert done, file
        file.write_bytes(data.tobytes())
    return i + 1


def _pixels(frame: Frames, mode: Mode) -> NDArray[Any]:
    """An RGB frame converted to a mode; colour in BGR order, as OpenCV writes it."""
    if mode in ("grey", "grey16"):
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        # 255 * 257 = 65535: the full range of 16 bits.
        return grey if mode == "grey" else grey.astype(np.uint16) * 257
    return cv2.cvtColor(frame, cv2.COLOR_RGB2BGRA if mode == "rgba" else cv2.COLOR_RGB2BGR)


def naming_rules(rows: list[dict[str, Any]]) -> dict[str, list[list[Any]]]:
    """The two worksheets of CAS(ME)2 that map names."""
    people = {row["s"]: row["t"] for row in rows}
    return {
        "naming rule1": [[t, f"s{t}", s] for s, t in people.items()],
        "naming rule2": [[f"{v:04d}", f"anger{v}"] for v in sorted({row["v"] for row in rows})],
    }


def write_sheet(
    path: Path, sheet: SheetLayout, rows: list[dict[str, Any]], more: dict[str, list[list[Any]]]
) -> None:
    """Write one row for each of ``rows``, and further worksheets by title.

    Args:
        path: The file; its suffix decides between CSV and a workbook.
        sheet: Its layout.
        rows: Values of the layout's fields.
        more: Title -> rows of another worksheet; only a workbook has them.
    """
    lines: list[list[Any]] = [[line] for line in sheet.preamble]
    if sheet.header:
        lines.append([header or None for header, _ in sheet.columns])
    lines += [[_cell(form.format(**row)) for _, form in sheet.columns] for row in rows]
    if path.suffix == ".csv":
        assert not more, f"{path} has one worksheet"
        _write_csv(path, lines)
    else:
        _write_workbook(path, lines, more)


def _write_workbook(path: Path, lines: list[list[Any]], more: dict[str, list[list[Any]]]) -> None:
    try:
        from openpyxl import Workbook
    except ImportError as error:
        raise UserError(
            f"{path}: writing a sheet needs openpyxl; pip install 'deft-llm[corpora]'"
        ) from error
    book = Workbook()
    page = book.active
    assert page is not None
    for line in lines:
        page.append(line)
    for title, further in more.items():
        other = book.create_sheet(title)
        for values in further:
            other.append(values)
    with replacing(path) as partial_file:
        book.save(partial_file)


def _cell(text: str) -> str | int | None:
    """A number as a number, as in the official sheets; "06" stays text."""
    return int(text) if text.isdigit() and str(int(text)) == text else text or None


def _write_csv(path: Path, rows: list[list[Any]]) -> None:
    with replacing(path) as partial_file, partial_file.open("w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows(rows)
