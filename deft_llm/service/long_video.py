"""The expressions of a long video, explained as they are found (``spotters.spot``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from deft_llm.media.landmarks import usual_finder
from deft_llm.media.options import ReadOptions
from deft_llm.motion.onset_apex import WINDOW
from deft_llm.service.clip_service import AS_USUAL, ClipResult, ClipService, ModelChoice
from deft_llm.service.limits import check_video
from deft_llm.spotters.finder import Kind, Spotted, join_macros
from deft_llm.spotters.spot import search_video as search
from deft_llm.viz.report import ClipInfo


@dataclass(frozen=True)
class Found:
    """One expression of a long video.

    Attributes:
        spotted: What is told of it; its seconds count from the start of the video.
        seen: The part of the video around it, measured and explained.
    """

    spotted: Spotted
    seen: ClipResult

    @property
    def onset(self) -> float:
        """Seconds from the start of the video."""
        return self.spotted.seconds[0]

    @property
    def apex(self) -> float:
        """The same."""
        return self.spotted.seconds[1]

    @property
    def offset(self) -> float:
        """The same."""
        return self.spotted.seconds[2]


def search_video(
    service: ClipService, path: Path, choice: ModelChoice = AS_USUAL
) -> Iterator[tuple[float, tuple[Found, ...]]]:
    """Search a video for expressions.

    Args:
        service: Limits and models.
        path: The video.
        choice: Model and options.

    Yields:
        Share of the video searched so far, and the new expressions of the latest part, in order of
        time; none if no motion was above the noise or no face was found.

    Raises:
        UserError: If the video cannot be read or exceeds a limit.
    """
    info = check_video(path, service.limits, long=True)
    whole = ClipInfo(path.name, info.frames, info.fps, float(info.timestamps[-1]))
    service.models.get(choice.model)  # fail on an unknown model before doing any work
    for progress in search(path, ReadOptions(landmarks=usual_finder())):
        yield (
            progress.done,
            tuple(
                Found(each.spotted, service.explain_measured(whole, each.measurement, choice))
                for each in progress.found
            ),
        )


def of_kind(found: Iterable[Found], kind: Kind) -> list[Found]:
    """The micro- or the macro-expressions of a video, in order of time.

    The movements of one macro-expression are one, explained where it is largest.
    """
    # ``join_macros`` gives back expressions alone; by its apex each finds its reading again.
    by_apex = {each.spotted.expression.interval.apex: each for each in found}
    spotted = sorted((each.spotted for each in by_apex.values()), key=lambda each: each.seconds)
    return [
        replace(by_apex[each.expression.interval.apex], spotted=each)
        # Joined over all parts: the halves of one smile may lie in two of them.
        for each in join_macros(spotted, WINDOW)
        if each.kind == kind
    ]
