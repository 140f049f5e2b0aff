"""The option ``--eyes``: a recording of the eye beside a face video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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


def require_one(eyes: Path | None, clips: int) -> None:
    """Fail if a recording of one eye is given with several clips, or does not exist.

    Raises:
        UserError: If so.
    """
    if eyes is None:
        return
    if clips > 1:
        raise UserError(f"--eyes {eyes}: a recording of one clip, but {clips} clips are given")
    if not eyes.exists():
        raise UserError(f"--eyes {eyes}: no such file")


def recorded(path: Path, start: float) -> tuple[EyeContext, str]:
    """What the eyes did in a recording, and a line that tells of it.

    Args:
        path: The recording.
        start: Second of the clip at which it begins.

    Raises:
        UserError: If it cannot be read.
    """
    from deft_llm.gaze.context import eye_context

    found = eye_context(path, start)
    blinks, shifts = len(found.blinks), len(found.shifts)
    line = (
        f"{blinks} blink{'' if blinks == 1 else 's'}, {shifts} gaze "
        f"shift{'' if shifts == 1 else 's'} from {found.span[0]:.2f} to {found.span[1]:.2f} s"
    )
    return found, line
