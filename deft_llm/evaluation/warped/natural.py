"""Real clips in which people know what happens: expected classes and AUs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from deft_llm import facs
from deft_llm.config import Settings
from deft_llm.data.measuring import measure_video
from deft_llm.errors import UserError
from deft_llm.evaluation.warped.clips import explainer
from deft_llm.media.options import Moment, ReadOptions


class NaturalClip(Settings):
    """A real clip, or a part of one.

    Attributes:
        file: The clip; if the path leads nowhere, one of the folder ``video`` in DEFT_DATA.
        start: First moment, as a frame ("12") or in seconds ("0.4s").
        stop: Moment before which it ends.
        emotion: The class to expect; "none" if nothing is to be named.
        aus: AUs that must be named.
    """

    file: Path
    start: str | None = None
    stop: str | None = None
    emotion: Literal["positive", "negative", "surprise", "none"]
    aus: list[str] = Field(default=[])


def find(clip: NaturalClip) -> Path | None:
    """Where a clip is; None if it may be in DEFT_DATA, which is not set.

    Raises:
        UserError: If it is nowhere.
    """
    if clip.file.exists():
        return clip.file
    data = os.environ.get("DEFT_DATA")
    if data is None and clip.file.parent == Path():
        return None
    beside = Path(data or ".") / "video" / clip.file
    if beside.exists():
        return beside
    raise UserError(
        f"natural: {clip.file}: no such file here or in DEFT_DATA/video; give the path of a clip"
    )


def read(clip: NaturalClip, path: Path, checkpoint: str) -> dict[str, Any]:
    """One line of the table: what was expected, what is named, whether that is right."""
    start, stop = (Moment.parse(t) if t else None for t in (clip.start, clip.stop))
    part = f" {clip.start or ''}:{clip.stop or ''}" if start or stop else ""
    expected = "+".join([clip.emotion, *(f"AU{au}" for au in clip.aus)])
    row: dict[str, Any] = {"clip": f"{path.name}{part}", "expected": expected}
    try:
        _, measured = measure_video(path, ReadOptions.of(path, start=start, stop=stop))
    except UserError as error:
        return {**row, "named": "", "status": str(error), "right": False}
    told = explainer(checkpoint).explain(measured)
    numbers = {facs.au_number(code) for code in told.aus}
    wanted = {facs.au_number(code) for code in clip.aus}
    named = "+".join([told.emotion or "none", *(f"AU{code}" for code in told.aus)])
    right = (told.emotion or "none") == clip.emotion and wanted <= numbers
    if clip.emotion == "none":
        right = right and not numbers
    return {**row, "named": named, "status": told.status, "right": right}
