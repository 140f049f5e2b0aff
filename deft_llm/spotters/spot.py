"""Find the expressions of a video of any length, with any finder.

from deft_llm.spotters.spot import spot

for each in spot("long.mp4"):
    print(each.seconds, each.expression.score, each.aus)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deft_llm.errors import NoFaceError, UserError
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.video import probe
from deft_llm.media.windows import OVERLAP
from deft_llm.motion.onset_apex import WINDOW
from deft_llm.registry import resolve
from deft_llm.resources import EMBEDDED, embedded
from deft_llm.spotters.finder import Finder, Found, Look, Spotted, join_macros, same
from deft_llm.spotters.returning import ReturningFinder

#: The finder without a network.
RETURNING = "returning"
#: Folder of the trained spotter that comes with the package.
WEIGHTS = Path(__file__).resolve().parent / "weights"
#: s after which a later movement is no part of one expression with an earlier one: the gap that may
#: lie between, and the length of a movement, half a second on both sides of its apex.
SETTLED = 3 * WINDOW
#: s of video below which the package's network is not used: cut to so much around an expression,
#: its own training videos lost it one expression in twenty, cut to two seconds one in four.
CONTEXT = 5.0
#: Frames that can show a movement which comes and goes.
FEWEST = 5
# By name, since a trained network loads torch.
_TRAINED = {"trained": "deft_llm.spotters.trained:TrainedFinder"}


@dataclass(frozen=True)
class Seen:
    """What is kept of one part of a video: numbers only, whatever the length of the video.

    Attributes:
        frames: Numbers of the frames that no part before showed.
        times: Their seconds.
        curve: Their curve; None in frames without a face.
        spotted: New expressions.
        remarks: See ``Look``.
    """

    frames: tuple[int, ...]
    times: tuple[float, ...]
    curve: tuple[float | None, ...]
    spotted: tuple[Spotted, ...]
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {**vars(self), "spotted": [each.to_dict() for each in self.spotted]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Seen:
        """Read what ``to_dict`` gave, also after JSON."""
        found = tuple(map(Spotted.from_dict, values["spotted"]))
        frames, times, curve = (tuple(values[name]) for name in ("frames", "times", "curve"))
        return cls(frames, times, curve, found, tuple(values["remarks"]))


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        done: Share of the work, 0..1.
        seen: The latest part; None while only motion is followed.
        found: Its new expressions with their measurements; empty for a part that was known.
    """

    done: float
    seen: Seen | None = None
    found: tuple[Found, ...] = ()


def load_finder(name: str = EMBEDDED, macro: bool = False) -> Finder:
    """A finder by name.

    Args:
        name: "embedded" for the trained spotter in the package, the folder of another one, or
            "returning".
        macro: Macro-expressions are wanted too. "returning" finds them in any case; with a network
            they take as long again.

    Raises:
        UserError: If it is neither.
    """
    if name == RETURNING:
        return ReturningFinder()
    folder = embedded(name, WEIGHTS)
    if not folder.is_dir():
        raise UserError(
            f"spotter {name!r}: no such folder; expected {RETURNING!r}, 'embedded', or the folder "
            "of a trained spotter, which train_configs/spotters/me_tst_plus.yaml makes"
        )
    finder: Finder = resolve(_TRAINED, "trained", "finder")(folder, macro)
    return finder


def length(source: Path | str, options: ReadOptions = WHOLE) -> float:
    """Seconds of a video that the options leave to be read.

    Raises:
        UserError: If the video cannot be read.
    """
    times = probe(source, fps=options.fps).timestamps[options.start : options.stop]
    return float(times[-1] - times[0]) if len(times) else 0.0


def suited(name: str, seconds: float) -> str:
    """The finder for a video: "returning" where the package's network would see too little of it.

    Args:
        name: See ``load_finder``.
        seconds: Length of what is read, see ``length``.
    """
    return RETURNING if name == EMBEDDED and seconds < CONTEXT else name


def search_video(
    source: Path | str,
    options: ReadOptions = WHOLE,
    finder: Finder | None = None,
    cache: Path | None = None,
    known: Sequence[Seen] = (),
) -> Iterator[Progress]:
    """Find the expressions of a video, part by part.

    Args:
        source: A video file, an animation, or a folder of frames.
        options: Which part to read, at which rate, whose face, and who places its landmarks.
        finder: Default ``ReturningFinder``.
        cache: See ``Finder.search``.
        known: Parts that an earlier search with the same arguments has seen, in order; they are
            not looked at again.

    Raises:
        UserError: If the video cannot be read.
    """
    finder = finder or ReturningFinder()
    reached, number = -1, 0
    recent: list[Spotted] = []
    for step in finder.search(Path(source), options, cache):
        if step.look is None:
            yield Progress(step.done)
            continue
        found: tuple[Found, ...] = ()
        if number < len(known):
            seen = known[number]
        else:
            look = step.look()
            found = tuple(
                each
                for each in look.found
                # Parts overlap: what the one before showed is not new.
                if not any(same(each.spotted.seconds, old.seconds) for old in recent)
            )
            seen = _kept(look, found, reached)
        number += 1
        recent += seen.spotted
        if seen.frames:
            reached = seen.frames[-1]
            # Later parts start later still: what ended before this one cannot turn up again.
            recent = [each for each in recent if each.seconds[2] >= seen.times[0] - OVERLAP]
        yield Progress(step.done, seen, found)


def _kept(look: Look, found: Sequence[Found], reached: int) -> Seen:
    new = look.frames > reached  # parts overlap; each frame is kept once
    curve = [round(float(v), 4) if np.isfinite(v) else None for v in look.curve[new]]
    return Seen(
        tuple(look.frames[new].tolist()),
        tuple(np.round(look.times[new], 6).tolist()),
        tuple(curve),
        tuple(each.spotted for each in found),
        look.remarks,
    )


def spot(
    source: Path | str,
    options: ReadOptions = WHOLE,
    finder: Finder | None = None,
    macro: bool = False,
) -> list[Spotted]:
    """All micro-expressions of a video.

    Args:
        source: A video file, an animation, or a folder of frames.
        options: Which part to read, at which rate, whose face, and who places its landmarks.
        finder: See ``load_finder``; default the trained spotter in the package, and for a video
            shorter than ``CONTEXT`` the search without a network.
        macro: List macro-expressions as well; see ``Spotted.kind``.

    Returns:
        In order of time.

    Raises:
        NoFaceError: If no frame shows a face.
        UserError: If the video cannot be read, or is too short.
    """
    if finder is None:
        finder = load_finder(suited(EMBEDDED, length(source, options)), macro)
    parts = [p.seen for p in search_video(source, options, finder) if p.seen is not None]
    check_seen(parts, Path(source).name, options.face)
    return listed(parts, macro)


def listed(parts: Sequence[Seen], macro: bool) -> list[Spotted]:
    """The expressions of all parts in order of time, macro-expressions joined or left out."""
    found = sorted((s for part in parts for s in part.spotted), key=lambda s: s.seconds)
    return [each for each in join_macros(found, WINDOW) if macro or each.kind == "micro"]


def check_seen(parts: Sequence[Seen], name: str, face: int | None = None) -> None:
    """Check that a searched video could show an expression at all.

    Args:
        parts: All of it.
        name: Of the video.
        face: Which face was to be followed, see ``ReadOptions``.

    Raises:
        NoFaceError: If no frame shows a face, or the one of that number.
        UserError: If it is shorter than an expression.
    """
    values = [value for part in parts for value in part.curve]
    if len(values) < FEWEST:
        raise UserError(
            f"{name}: {len(values)} frame{'' if len(values) == 1 else 's'}, too short for a "
            f"movement that comes and goes; expected {FEWEST} or more, and better a second of video"
        )
    if any(value is not None for value in values):
        return
    if face is not None:
        raise NoFaceError(
            f"{name}: no face {face} (--face) in {len(values)} frames, so no expression; faces are "
            "numbered from 1, from left to right; leave --face out to follow the largest"
        )
    raise NoFaceError(
        f"{name}: no face in {len(values)} frames, so no expression; give a video that shows "
        "one face from the front, upright, at least 15 % of the frame high"
    )
