"""One clip at a time: read it within limits, explain it, measure other frames, answer questions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deft_llm.clip import Explanation, Interval
from deft_llm.data.measuring import measure_video
from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.deft.inference.answer import Answer
from deft_llm.deft.inference.conversation import untagged
from deft_llm.deft.inference.suggestions import suggestions
from deft_llm.errors import UserError
from deft_llm.media.landmarks import usual_finder
from deft_llm.media.options import ReadOptions
from deft_llm.media.video import read_clip
from deft_llm.motion.eyes import with_eyes
from deft_llm.motion.measure import Measurement, measure
from deft_llm.service.limits import LIMITS, Limits, check_video
from deft_llm.service.models import EMBEDDED, Models
from deft_llm.stages import EXPLAINING, READING, begin
from deft_llm.viz.figure import write_figure
from deft_llm.viz.report import FIGURES, ClipInfo, report_page, report_values

MOST_SAMPLES = 64


@dataclass(frozen=True)
class ModelChoice:
    """Model and options of one request.

    Attributes:
        model: A name of ``Models``.
        ablate: Experts to leave out, of "structure", "texture", "motion".
        temperature: 0 always takes the most likely token; used for answers only.
        samples: Explanations to sample beside the likeliest one (``Explainer.explain``).
    """

    model: str = EMBEDDED
    ablate: tuple[str, ...] = ()
    temperature: float = 0.0
    samples: int = 0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.ablate if name not in EXPERTS]:
            raise UserError(f"expert {unknown[0]!r}: expected some of {', '.join(EXPERTS)}")
        if not 0.0 <= self.temperature <= 2.0:
            raise UserError(f"temperature {self.temperature}: expected 0 to 2")
        if not 0 <= self.samples <= MOST_SAMPLES:
            raise UserError(f"samples {self.samples}: expected 0 to {MOST_SAMPLES}")


AS_USUAL = ModelChoice()


@dataclass(frozen=True)
class ClipResult:
    """A measured and explained clip.

    Attributes:
        info: Name, length and rate.
        measurement: The measurement.
        explanation: The model's explanation.
        scan: What a 3D scan beside the clip was read as (``viz.report.report_values``), or None.
    """

    info: ClipInfo
    measurement: Measurement
    explanation: Explanation
    scan: Mapping[str, Any] | None = None

    def record(self) -> dict[str, Any]:
        """All results of the clip, JSON-ready (``viz.report.report_values``)."""
        return report_values(self.measurement, self.explanation, self.info, self.scan)

    def report(self) -> str:
        """The report as one HTML page; no file is kept."""
        return report_page(self.measurement, self.explanation, self.info, self.scan)

    def figure(self) -> dict[str, bytes]:
        """The figure for a paper: name of a file -> its content; no file is kept."""
        # matplotlib chooses the form by the ending of a file.
        with tempfile.TemporaryDirectory(prefix="deft-") as folder:
            paths = [Path(folder) / name for name in FIGURES]
            write_figure(paths, self.measurement, self.explanation.evidence)
            return {path.name: path.read_bytes() for path in paths}


class ClipService:
    """Operations on a clip, with any of the allowed models."""

    def __init__(self, models: Models, limits: Limits = LIMITS) -> None:
        self.models, self.limits = models, limits

    def explain(self, path: Path, choice: ModelChoice = AS_USUAL) -> ClipResult:
        """Read, measure and explain a video file.

        Raises:
            UserError: If it is over a limit, shows no face, or cannot be read.
        """
        self.models.get(choice.model)  # fail on an unknown model before doing any work
        # For the page, which shows the stage (``stages.heard``).
        begin(READING)
        check_video(path, self.limits)
        options = ReadOptions(landmarks=usual_finder())
        # Read as a whole, which the limits allow: the page shows all frames of what is measured.
        clip, measurement = measure_video(read_clip(path), options)
        return self.explain_measured(ClipInfo.of(clip), measurement, choice)

    def explain_interval(
        self, seen: ClipResult, interval: Interval, choice: ModelChoice = AS_USUAL
    ) -> ClipResult:
        """The same clip with other frames as onset, apex and offset.

        Raises:
            UserError: If the interval ends after the clip.
        """
        # The face was found and aligned already, which takes most of the time.
        measurement = measure(seen.measurement.aligned, interval)
        return self.explain_measured(seen.info, measurement, choice)

    def explain_measured(
        self, info: ClipInfo, measurement: Measurement, choice: ModelChoice = AS_USUAL
    ) -> ClipResult:
        """Explain a measurement, in the light of what the eyes did meanwhile."""
        explainer = self.models.get(choice.model)
        begin(EXPLAINING)
        seen = with_eyes(measurement)
        return ClipResult(info, seen, explainer.explain(seen, choice.ablate, choice.samples))

    def suggestions(self, seen: ClipResult) -> tuple[str, ...]:
        """Questions that fit a clip."""
        return suggestions(seen.explanation)

    def question(self, text: str) -> str:
        """Clean a question: remove a model's own tags.

        Raises:
            UserError: If it is empty or too long.
        """
        question = untagged(text)
        if not question or len(question) > self.limits.question:
            raise UserError(
                f"question of {len(question)} characters; expected 1 to {self.limits.question}"
            )
        return question

    def answer(
        self,
        seen: ClipResult,
        turns: Sequence[tuple[str, str]],
        question: str,
        choice: ModelChoice = AS_USUAL,
    ) -> Answer:
        """Answer a question about a clip.

        Args:
            seen: The clip.
            turns: Earlier (question, answer) pairs.
            question: The new question.
            choice: Model, experts to leave out, temperature.

        Raises:
            UserError: If the question is empty or too long.
        """
        # Checked here as well, since API calls come without ``Page.take``.
        question = self.question(question)
        explainer = self.models.get(choice.model)
        return explainer.answer(
            seen.measurement, turns, question, choice.temperature, choice.ablate, choice.samples
        )
