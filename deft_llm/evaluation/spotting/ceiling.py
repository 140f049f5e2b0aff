"""What spotting followed by recognition could reach on simulated videos.

Every interval is found exactly, and its emotion is told by the Bayes rule on the true action units:
emotions are drawn by how often codings give them to a combination of units, so no spotter can do
better but by luck.
"""

from __future__ import annotations

from collections.abc import Sequence

from deft_llm.clip import Expression
from deft_llm.evaluation.bayes_rule import BayesRule
from deft_llm.evaluation.spotting.scores import ScoredVideo, spotting_scores
from deft_llm.simulator.scene.video_drawing import draw_micro
from deft_llm.simulator.scene.video_spec import MICRO, VideoSpec

_LABEL_SETS = {"3": "three", "4": "four"}  # scheme of the scores -> label set of the rule
FIGURES = tuple(f"strs_{scheme}{px}" for scheme in _LABEL_SETS for px in ("", "_1px"))
_SEED = 8_500_000  # of the first expression; those of videos are a thousand times as large


def ceiling(
    videos: Sequence[ScoredVideo], specs: Sequence[VideoSpec], drawn: int
) -> dict[str, float]:
    """``FIGURES`` of the test videos.

    Args:
        videos: The test videos.
        specs: Their recipes.
        drawn: Number of micro-expressions that the rule is fitted on, drawn as those of videos.
    """
    # What is drawn does not depend on the face.
    known = [draw_micro(_SEED + number, 0) for number in range(drawn)]
    values: dict[str, float] = {}
    for scheme, label_set in _LABEL_SETS.items():
        rule = BayesRule(known, label_set)
        found = [
            [
                Expression(shown.interval, rule(shown.aus), score=1.0)
                for shown in spec.of_kind(MICRO)
            ]
            for spec in specs
        ]
        scores = spotting_scores(videos, found)
        values |= {f"strs_{scheme}{px}": scores[f"strs_{scheme}{px}"] for px in ("", "_1px")}
    return values
