"""What the AU head is sure of, as limits of what the language model may name.

The head scores every AU of a clip at once; a language model writes one after the other and forgets
some. So an AU that the head is sure of is named, one that it excludes is not, and in between the
language model decides. The two thresholds are our own choice.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from deft_llm import facs
from deft_llm.deft.inference.grammar import AuLimits

POSSIBLE = 0.2
SURE = 0.7


def au_limits(
    probabilities: Tensor, numbers: Sequence[int], moved: frozenset[str] | None = None
) -> AuLimits:
    """The AU codes that an answer may and must name.

    Args:
        probabilities: (K, 2) of each AU on the subject's left and right.
        numbers: The K AUs of the head.
        moved: The codes that a moved region speaks for; None where nothing is measured.

    Returns:
        The limits; an AU without an output of the head is not allowed.
    """
    # A code without a side is on both, so the less likely side counts.
    of = {
        f"{side}{number}": float(row[both].min())
        for number, row in zip(numbers, probabilities, strict=True)
        for side, both in (("", [0, 1]), ("L", [0]), ("R", [1]))
    }
    possible = [c for c, p in of.items() if p >= POSSIBLE and (moved is None or c in moved)]
    sure = {code for code in possible if of[code] >= SURE}
    # Sure of both sides: one of them alone would be half of it.
    allowed = frozenset(code for code in possible if code[0] not in "LR" or code[1:] not in sure)
    return AuLimits(allowed, frozenset(str(facs.au_number(code)) for code in sure))
