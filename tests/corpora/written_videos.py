"""Simulated long videos in the layouts of the corpora that have such: sheets, folders, names.

Micro- and macro-expressions are coded as the sheets do; a video without any is its folder alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Interval
from deft_llm.corpora.base import MACRO, MICRO, load_class
from deft_llm.corpora.layouts import LAYOUTS, TYPES, Layout
from deft_llm.corpora.synthetic import letters, naming_rules, write_images, write_sheet
from deft_llm.errors import UserError
from deft_llm.simulator.head import load_head
from deft_llm.simulator.long_videos import LongScene
from deft_llm.simulator.scene.video_spec import ShownExpression, VideoSpec

Frames = Iterator[NDArray[np.uint8]]
LONG = ("casme_squared", "casme3", "samm_long_videos")
_MACRO_SHEET = "cas(me)3_part_A_MaE_label_JpgIndex_v2.xlsx"


@dataclass(frozen=True)
class WrittenVideo:
    """One video as it was written.

    Attributes:
        folder: Folder of its frames.
        spec: Its recipe.
        held: How often each frame was written, so that the rate is the corpus's.
    """

    folder: Path
    spec: VideoSpec
    held: int

    def interval(self, shown: ShownExpression) -> Interval:
        """The coding of an expression, in images of the folder from 0."""
        i = shown.interval
        return Interval(i.onset * self.held, i.apex * self.held, i.offset * self.held)


def write_long_videos(
    name: str,
    root: Path,
    videos: Sequence[VideoSpec],
    render: Callable[[VideoSpec], Frames] | None = None,
) -> tuple[WrittenVideo, ...]:
    """Write simulated long videos as a corpus.

    Args:
        name: One of ``LONG``.
        root: Output folder, new or empty.
        videos: The recipes. At 200 frames a second, each frame is written seven times.
        render: Recipe -> frames uint8 RGB (H, W, 3) in turn; None for the simulator.

    Raises:
        UserError: If the corpus has no long videos, the folder is not empty, or nothing is coded.
    """
    if name not in LONG:
        raise UserError(f"{name}: no corpus of long videos; expected one of {', '.join(LONG)}")
    if root.exists() and any(root.iterdir()):
        raise UserError(f"{root}: not empty; give a new folder for the simulated corpus")
    if not any(video.of_kind(MICRO) for video in videos):
        raise UserError(f"{len(videos)} videos without a micro-expression: a sheet needs some")
    layout, held = LAYOUTS[name], max(1, round((load_class(name).fps or 0) / videos[0].rest.fps))
    rows: list[dict[str, Any]] = []
    written = []
    for spec, fields in _numbered(videos):
        folder = root / layout.folder.format(**fields)
        folder.mkdir(parents=True)
        frames = (render or _rendered)(spec)
        write_images(folder, _repeated(frames, held), 0, layout, fields)
        video = WrittenVideo(folder, spec, held)
        written.append(video)
        rows += _rows(video, layout, fields)
    _write_sheets(name, root, layout, rows)
    return tuple(written)


def _rendered(spec: VideoSpec) -> Frames:
    return LongScene(spec, load_head(spec.rest.head)).frames()


def _repeated(frames: Iterable[NDArray[np.uint8]], held: int) -> Frames:
    for frame in frames:
        for _ in range(held):
            yield frame


def _numbered(videos: Sequence[VideoSpec]) -> Iterator[tuple[VideoSpec, dict[str, Any]]]:
    """Each video with the numbers of its subject and of the video among the subject's."""
    people: dict[str, int] = {}
    counts: dict[str, int] = {}
    for spec in videos:
        number = people.setdefault(spec.subject, len(people) + 1)
        counts[spec.subject] = video = counts.get(spec.subject, 0) + 1
        yield spec, {"s": number, "t": number + 14, "v": video, "letter": letters(video), "n": 0}


def _rows(video: WrittenVideo, layout: Layout, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for k, shown in enumerate(video.spec.expressions, 1):
        i = video.interval(shown)
        yield {
            **fields,
            **TYPES[shown.kind],
            "k": k,
            "kind": shown.kind,
            "onset": layout.first + i.onset,
            "apex": layout.first + i.apex,
            "offset": layout.first + i.offset,
            "frames": len(i),
            "aus": "+".join(facs.sort_aus(shown.aus)),
            "word": _word(shown.emotion, layout),
        }


def _word(emotion: str | None, layout: Layout) -> str:
    """The sheet's word for an emotion: its own, that of its class, or "others"."""
    words = {meant: word for word, meant in layout.words.items()}
    known = (name for name in (emotion, facs.to_three(emotion), "others") if name in words)
    return words[next(known)]


def _write_sheets(name: str, root: Path, layout: Layout, rows: list[dict[str, Any]]) -> None:
    micro, macro = ([row for row in rows if row["kind"] == kind] for kind in (MICRO, MACRO))
    first, *others = layout.sheets
    rules = naming_rules(rows) if layout.naming_rules else {}
    if name == "casme3":
        write_sheet(root / first.file, first, micro, rules)
        sheet = replace(first, file=_MACRO_SHEET)
        write_sheet(root / sheet.file, sheet, macro, rules)
        return
    write_sheet(root / first.file, first, rows, rules)
    for sheet in others:  # SAMM's own, which has the emotions of micro-expressions alone
        write_sheet(root / sheet.file, sheet, micro, {})
