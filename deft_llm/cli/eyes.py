"""The option ``--eyes``: a recording of the eye beside a face video."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deft_llm.cli.lines import counted
from deft_llm.errors import UserError

if TYPE_CHECKING:
    from deft_llm.motion.eyes import EyeContext

EyesFile = Annotated[
    Path | None,
    typer.Option(
        "--eyes", help="recording of the eye by an event camera (see gaze), of a single clip"
    ),
]
EyesStart = Annotated[
    float, typer.Option("--eyes-start", help="second of the clip at which that recording begins")
]
EyesSensor = Annotated[
    str, typer.Option("--eyes-sensor", help="size of the sensor of that recording, px")
]
SENSOR = "640x480"
Eyes = tuple[Path, float, tuple[int, int]]
"""A recording, the second of the clip at which it begins, and the size of its sensor."""


def size_of(text: str, option: str) -> tuple[int, int]:
    """Width and height of ``WIDTHxHEIGHT``.

    Raises:
        UserError: If it is something else.
    """
    # Both the letter and the sign, which people copy from data sheets.
    found = re.fullmatch(r"(\d+)[x×](\d+)", text.strip())
    if found is None or not (int(found[1]) and int(found[2])):
        raise UserError(f"{option} {text}: expected WIDTHxHEIGHT, such as 640x480")
    return int(found[1]), int(found[2])


def eyes_given(eyes: Path | None, start: float, sensor: str, clips: int) -> Eyes | None:
    """The recording that the options name, if any.

    Raises:
        UserError: If it is given with several clips, does not exist, or its size is none, or if
            the others are given without it.
    """
    if eyes is None:
        if start or sensor != SENSOR:
            option = "--eyes-start" if start else "--eyes-sensor"
            raise UserError(f"{option}: of a recording of the eye; give it with --eyes")
        return None
    if clips > 1:
        raise UserError(f"--eyes {eyes}: a recording of one clip, but {clips} clips are given")
    # Here, since it is opened only when the first movement was found.
    if not eyes.exists():
        raise UserError(f"--eyes {eyes}: no such file")
    return eyes, start, size_of(sensor, "--eyes-sensor")


def recorded(eyes: Eyes) -> tuple[EyeContext, str]:
    """What the eyes did in a recording, and a line that tells of it.

    Args:
        eyes: From :func:`eyes_given`.

    Raises:
        UserError: If it cannot be read.
    """
    from deft_llm.gaze.context import eye_context

    found = eye_context(*eyes)
    blinks = counted(len(found.blinks), "blink")
    shifts = counted(len(found.shifts), "gaze shift")
    first, last = found.span
    return found, f"{blinks}, {shifts} from {first:.2f} to {last:.2f} s"
