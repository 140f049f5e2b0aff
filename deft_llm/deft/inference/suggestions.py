"""Questions that fit a clip, to start with."""

from __future__ import annotations

from deft_llm import facs
from deft_llm.clip import Explanation
from deft_llm.queries.phrasing import ask
from deft_llm.queries.query import Query

_STILL = (
    Query("moved", polar=True),
    Query("quality", polar=True),
    Query("blink", polar=True),
    Query("head_motion", polar=True),
)


def suggestions(explanation: Explanation) -> tuple[str, ...]:
    """Four questions about what was found in a clip, or why nothing was."""
    if not explanation.evidence:
        return tuple(map(ask, _STILL))
    region = explanation.evidence[0].region
    side = facs.REGIONS[region].side
    part = region if side == "middle" else region.partition(" ")[2]
    sides = () if side == "middle" else (side,)
    queries = [Query("moved"), Query("magnitude", regions=(part,), sides=sides)]
    queries += [Query("why", aus=(facs.au_number(code),)) for code in list(explanation.aus)[:1]]
    shares = explanation.probabilities
    if len(shares) > 1:
        second = sorted(shares, key=lambda label: -shares[label])[1]
        queries.append(Query("why_not", classes=(second,)))
    return tuple(map(ask, (*queries, Query("how_long"))))[:4]
