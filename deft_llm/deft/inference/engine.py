"""Executes queries on a clip: the one place where answers about it come from.

A query goes in, facts with their evidence come out, and yes or no where that was asked. Nothing is
generated here: every number is in the measurement or is one of the model's own verdicts.
"""

from __future__ import annotations

from collections.abc import Callable

from deft_llm.clip import Explanation
from deft_llm.deft.inference import (
    clip_queries,
    motion_queries,
    reading_queries,
    time_queries,
)
from deft_llm.deft.inference.sight import Sight, Weighed
from deft_llm.motion.measure import Measurement
from deft_llm.queries.findings import Fact, Findings
from deft_llm.queries.query import KINDS, TALK, Query

_EXECUTES: dict[str, Callable[[Query, Sight], Findings]] = {
    "moved": time_queries.moved,
    "direction": motion_queries.direction,
    "magnitude": motion_queries.magnitude,
    "side_difference": motion_queries.side_difference,
    "compare": motion_queries.compare,
    "when": time_queries.when,
    "how_long": time_queries.how_long,
    "order": time_queries.order,
    "head_motion": time_queries.head_motion,
    "blink": time_queries.blink,
    "au": reading_queries.action_units,
    "emotion": reading_queries.emotion,
    "probability": reading_queries.probability,
    "why": reading_queries.why,
    "why_not": reading_queries.why_not,
    "confidence": reading_queries.confidence,
    "count": clip_queries.count,
    "quality": clip_queries.quality,
    "summary": clip_queries.summary,
}
assert {*_EXECUTES, *TALK} == set(KINDS)


def execute(
    query: Query,
    measurement: Measurement,
    explain: Callable[[], Explanation],
    weigh: Callable[[], Weighed | None] = lambda: None,
) -> Findings:
    """Find out what a query asks.

    Args:
        query: The query.
        measurement: The clip's measurement.
        explain: Gives its explanation; called only by kinds that need it.
        weigh: Gives what the model's heads make of all frames; None if they are not asked.

    Returns:
        Facts, and yes or no. Kinds in ``query.TALK`` are not about the clip: they find nothing,
        but for what is told of the gaze beside the motion.
    """
    if query.kind in TALK:
        return Findings(query, facts=_gaze(measurement) if query.topic == "gaze" else ())
    return _EXECUTES[query.kind](query, Sight(measurement, explain, weigh))


def _gaze(measurement: Measurement) -> tuple[Fact, ...]:
    """What is remarked on the gaze: that it shifts is seen, where to is not."""
    told = [remark for remark in measurement.remarks if "gaze" in remark]
    return tuple(Fact("clip", "remark", remark) for remark in told)
