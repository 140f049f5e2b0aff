"""``deft-llm explain``: the main command, from a clip to a report of the evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.console import (
    Checkpoint,
    ClipPath,
    Face,
    Fps,
    Start,
    Stop,
    Stride,
    read_options,
    show,
)
from deft_llm.errors import UserError
from deft_llm.resources import EMBEDDED


def explain(
    clip: ClipPath,
    out: Annotated[Path, typer.Option(help="folder for the report's own folder")] = Path("out"),
    checkpoint: Checkpoint = Path(EMBEDDED),
    ask: Annotated[
        list[str] | None, typer.Option(help="a question about the clip; again for the next one")
    ] = None,
    fps: Fps = None,
    start: Start = None,
    stop: Stop = None,
    stride: Stride = 1,
    face: Face = None,
) -> None:
    """Name the emotion and the action units of a clip, and write a report of the evidence."""
    from transformers.utils import logging as transformers_logging

    from deft_llm.cli.chat import say
    from deft_llm.cli.summary import summary
    from deft_llm.data.measuring import measure_video
    from deft_llm.deft.inference.explainer import Explainer
    from deft_llm.viz.report import ClipInfo, write_report

    transformers_logging.disable_progress_bar()
    options = read_options(clip, fps, start, stop, stride, face)
    video, measurement = measure_video(clip, options)
    explainer = Explainer.load(checkpoint)
    explanation = explainer.explain(measurement)
    info = ClipInfo.of(video)
    folder = out / _folder_name(info.name)
    try:
        report = write_report(folder, measurement, explanation, clip_info=info)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot write the report ({error.strerror}); give another folder with --out"
        ) from error
    for line in summary(video, measurement, explanation):
        print(line)
    show("report", report)
    turns: list[tuple[str, str]] = []
    for question in ask or ():
        print(f"\n> {question}")
        turns.append((question, say(explainer.answer(measurement, turns, question), measurement)))


def _folder_name(name: str) -> str:
    """The clip's name without suffix, safe as a folder name."""
    # A stem of dots would name the output folder or its parent; Windows rejects a trailing dot or
    # blank.
    return Path(name).stem.strip(". ") or "clip"
