"""The expressions of a long video, explained as they are found (``spotters.spot``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deft_llm.media.landmarks import usual_finder
from deft_llm.media.options import ReadOptions
from deft_llm.service.clip_service import AS_USUAL, ClipResult, ClipService, ModelChoice
from deft_llm.service.limits import check_video
from deft_llm.spotters.spot import search_video as search
from deft_llm.viz.report import ClipInfo


@dataclass(frozen=True)
class Found:
    """One expression of a long video.

    Attributes:
        onset: Seconds from the start of the video.
        apex: The same.
        offset: The same.
        seen: The part of the video around it, measured and explained.
    """

    onset: float
    apex: float
    offset: float
    seen: ClipResult


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
    explainer = service.models.get(choice.model)
    for progress in search(path, ReadOptions(landmarks=usual_finder())):
        new = [
            Found(
                *each.spotted.seconds,
                ClipResult(
                    whole, each.measurement, explainer.explain(each.measurement, choice.ablate)
                ),
            )
            for each in progress.found
        ]
        yield progress.done, tuple(new)
