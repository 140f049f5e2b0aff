"""The options that say how a video is read, the same for every command that reads one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

from deft_llm.errors import UserError

if TYPE_CHECKING:
    from deft_llm.media.options import Moment, ReadOptions


class Reading(NamedTuple):
    """The options as the user gave them; each is an option of the command line."""

    fps: Annotated[
        float | None,
        typer.Option(help="frames per second, in place of the file's times; pictures have none"),
    ] = None
    start: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="first frame to read: 120, or 1.5s")
    ] = None
    stop: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="frame to stop before: 240, or 3s")
    ] = None
    stride: Annotated[int, typer.Option(help="read every so many frames")] = 1
    face: Annotated[
        int | None,
        typer.Option(help="whom to follow, 1 for the leftmost face; default: the largest"),
    ] = None
    landmarks: Annotated[
        str | None,
        typer.Option(
            metavar="FINDER",
            help="what places the landmarks: network, face-mesh or mean; default: face-mesh where "
            "`deft-llm models get face-mesh` put it, else network",
        ),
    ] = None

    def check(self) -> None:
        """Refuse what is wrong for every clip, once and before any of them is looked at.

        Raises:
            UserError: If a value is out of range.
        """
        if self == USUAL:
            return  # without the imports, before the first line of a command
        from deft_llm.media.landmarks import DEFAULT_FINDER
        from deft_llm.media.options import ReadOptions

        first, last = self._moments()
        # Which frame a second is depends on the clip: there the order alone can be wrong.
        alike = first and last and first.in_seconds == last.in_seconds
        if first and last and alike and last.value <= first.value:
            raise UserError(
                f"--start {self.start} --stop {self.stop}: expected a start before the stop"
            )
        ReadOptions(
            fps=self.fps,
            stop=None if last is None or last.in_seconds else int(last.value),
            stride=self.stride,
            face=self.face,
            landmarks=self.landmarks or DEFAULT_FINDER,
        )

    def _moments(self) -> tuple[Moment | None, Moment | None]:
        from deft_llm.media.options import Moment

        first, last = (None if m is None else Moment.parse(m) for m in (self.start, self.stop))
        return first, last

    def of(self, clip: Path) -> ReadOptions:
        """How this clip is read; see ``ReadOptions``."""
        from deft_llm.media.landmarks import usual_finder
        from deft_llm.media.options import ReadOptions

        first, last = self._moments()
        return ReadOptions.of(
            clip,
            fps=self.fps,
            start=first,
            stop=last,
            stride=self.stride,
            face=self.face,
            landmarks=self.landmarks or usual_finder(),
        )


USUAL = Reading()


def reads_videos(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of :class:`Reading` in place of its parameter ``reading``.

    Typer reads a command's options off its signature, and takes no group of them.
    """
    hints = get_type_hints(command, include_extras=True)
    hints.update(get_type_hints(Reading, include_extras=True))
    del hints["reading"]
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name != "reading":
            parameters.append(parameter)
            continue
        parameters += [
            parameter.replace(name=name, default=Reading._field_defaults[name])
            for name in Reading._fields
        ]

    @wraps(command)
    def with_options(**options: Any) -> None:
        # What is left are the command's own options.
        values = {name: options.pop(name) for name in Reading._fields}
        reading = Reading(**values)
        reading.check()
        command(**options, reading=reading)

    shown = [p.replace(annotation=hints[p.name]) for p in parameters]
    # typer asks for both; ``wraps`` leaves those of the command, with its parameter ``reading``.
    with_options.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    with_options.__annotations__ = hints
    return with_options
