"""Whether the motion of a clip can be judged: is there any, and is it of a kind that is known?"""

from __future__ import annotations

from deft_llm.motion.evidence import MACRO_PX, largest_motion
from deft_llm.motion.measure import Measurement
from deft_llm.motion.remarks import NO_MOTION, NO_REGION

# Canonical px. The largest motion of the simulated macro-expressions, and of the bridge of a nose
# whose head turns by 15 degrees: the model has seen nothing larger.
LARGEST_PX, HEAD_PX = 20.0, 8.0


def nothing_seen(measurement: Measurement) -> tuple[str, ...]:
    """Remarks on a clip that gets no reading, the reason first; empty if something moved."""
    if measurement.found and measurement.table_apex.active.any():
        return ()
    # Of a search in vain the first remark is the reason, whichever it is.
    told = not measurement.found or not {NO_MOTION, NO_REGION}.isdisjoint(measurement.remarks)
    return measurement.remarks if told else (f"{NO_MOTION} from onset to apex",)


def not_judged(measurement: Measurement) -> str:
    """Reason to describe the motion without naming an emotion; empty if it can be judged."""
    if (largest := largest_motion(measurement.table_apex)) > LARGEST_PX:
        why = f"regions moved up to {largest:.1f} px, further than the model knows"
    elif measurement.head_shift > HEAD_PX:
        why = f"the head moved by {measurement.head_shift:.1f} px meanwhile"
    else:
        return ""
    return f"described, not judged: {why}"


def macro_expression(measurement: Measurement) -> tuple[str, ...]:
    """What to say of a movement that is too large for a micro-expression; empty if it is not."""
    if (largest := largest_motion(measurement.table_apex)) <= MACRO_PX:
        return ()
    return (
        f"a macro-expression, up to {largest:.1f} px: judged is the kind of movement, not how "
        "genuine it is",
    )
