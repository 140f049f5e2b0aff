"""Any finder, in the light of a recording of the eye: a blink alone is no expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from deft_llm.files import digest
from deft_llm.media.options import ReadOptions
from deft_llm.motion.eyes import EyeContext, with_eyes
from deft_llm.spotters.finder import Finder, Found, Look, Step


class EyeAwareFinder:
    """Drops what another finder takes for an expression where the eyes explain all of it.

    Args:
        finder: The other one.
        eyes: What the eyes did, on the video's clock.
    """

    def __init__(self, finder: Finder, eyes: EyeContext) -> None:
        self.finder, self.eyes = finder, eyes

    @property
    def key(self) -> str:
        """See ``Finder``."""
        return f"{self.finder.key} eyes {digest(repr(self.eyes))[:16]}"

    @property
    def axis(self) -> str:
        """See ``Finder``."""
        return self.finder.axis

    @property
    def threshold(self) -> float | None:
        """See ``Finder``."""
        return self.finder.threshold

    def search(self, source: Path, options: ReadOptions, cache: Path | None) -> Iterator[Step]:
        """See ``Finder``."""
        for step in self.finder.search(source, options, cache):
            yield step if step.look is None else Step(step.done, partial(self._judged, step.look))

    def _judged(self, take: Callable[[], Look]) -> Look:
        look = take()
        kept, left_out, uncovered = [], [], False
        first, last = self.eyes.span
        for each in look.found:
            onset, _, offset = each.spotted.seconds
            uncovered |= last < onset or offset < first
            # The floor rises for what the eyes explain; out is what has nothing above it.
            measured = with_eyes(each.measurement, self.eyes)
            if not measured.found:
                left_out.append(each.spotted.seconds[1])
                continue
            told = each.spotted
            kept.append(
                Found.of(measured, told.expression, told.probabilities, told.scorer, told.seconds)
            )
        remarks = [
            f"movement at {apex:.2f} s left out: the eyes explain it; a blink is not a brow motion"
            for apex in left_out
        ]
        if uncovered:
            remarks.append(
                f"{self.eyes.source} covers {first:.2f} to {last:.2f} s; movements before or "
                "after are judged without it"
            )
        return replace(look, found=tuple(kept), remarks=(*look.remarks, *remarks))
