"""A contact sheet: onset, apex and offset of some clips, to check what was read."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deft_llm.corpora.reading import Entry
from deft_llm.media.frames import list_frames
from deft_llm.media.pictures import read_images

DPI = 100
_TILE = 150  # px
_MOMENTS = ("onset", "apex", "offset")


def choose(entries: Sequence[Entry], count: int) -> list[Entry]:
    """Clips spread evenly over the corpus."""
    picked = np.linspace(0, len(entries) - 1, min(count, len(entries))).round().astype(int)
    return [entries[i] for i in picked]


def contact_sheet(entries: Sequence[Entry], columns: int = 2) -> NDArray[np.uint8]:
    """Three frames per clip with its coding above them.

    Args:
        entries: At least one, read with frames.
        columns: Clips side by side.

    Returns:
        uint8 RGB on a white ground.
    """
    columns = min(columns, len(entries))
    rows = -(-len(entries) // columns)
    head, gap = 34, 14
    width, height = columns * (3 * _TILE + gap) - gap, rows * (_TILE + head)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    for i, entry in enumerate(entries):
        row, column = divmod(i, columns)
        left, top = column * (3 * _TILE + gap), row * (_TILE + head)
        # Matplotlib measures from the bottom, the layout here from the top.
        bottom = 1 - (top + head + _TILE) / height
        axes = figure.add_axes((left / width, bottom, 3 * _TILE / width, _TILE / height))
        axes.imshow(np.concatenate(_tiles(entry), axis=1))
        axes.axis("off")
        label, coding = _captions(entry)
        for text, below, weight in ((label, 12, "bold"), (coding, 27, "normal")):
            figure.text(
                left / width, 1 - (top + below) / height, text, fontsize=7, weight=weight,
                va="center", color="#222",
            )  # fmt: skip
    # Draw to memory: no display and no global pyplot state.
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _captions(entry: Entry) -> tuple[str, str]:
    a, i = entry.annotation, entry.annotation.interval
    assert i is not None
    aus = "AU " + "+".join(a.aus) if a.aus else "no AU coded"
    rate = f" at {a.fps:g} fps" if a.fps else ""
    span = f"onset {i.onset} · apex {i.apex} · offset {i.offset} of {entry.frames} frames{rate}"
    # 76 characters fit above three tiles at this font size.
    return f"{a.clip} · {a.emotion or 'no emotion'} · {aus}"[:76], span


def _tiles(entry: Entry) -> list[NDArray[np.uint8]]:
    """Onset, apex and offset, each fitted into a square."""
    assert entry.folder is not None
    files, tiles = list_frames(entry.folder).frames, []
    shown = [files[getattr(entry.annotation.interval, moment)] for moment in _MOMENTS]
    for image in read_images(*shown):
        scale = _TILE / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        tile = np.full((_TILE, _TILE, 3), 255, np.uint8)
        y, x = (_TILE - small.shape[0]) // 2, (_TILE - small.shape[1]) // 2
        tile[y : y + small.shape[0], x : x + small.shape[1]] = small
        tiles.append(tile)
    return tiles
