"""Check that simulated benchmarks test only on faces and clips unseen in training and tuning."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from deft_llm.leaks import Ids, require_disjoint
from deft_llm.simulator.scene.clip_spec import ClipSpec

logger = logging.getLogger(__name__)
MEND = "set first_identity and seed of the two apart"


def require_unseen(
    train: Iterable[ClipSpec], test: Iterable[ClipSpec], what: str, mend: str = MEND
) -> None:
    """Refuse two sets of simulated clips that share a face or a clip.

    Args:
        train: One set.
        test: The other set.
        what: Description of the sets, for the message.
        mend: How to separate them, for the message.

    Raises:
        UserError: If they overlap; names a shared face or clip.
    """
    tested = _ids(test)
    require_disjoint(_ids(train), tested, what, mend)
    counts = (len(tested["clip"]), len(tested["subject"]))
    logger.info("%s: %d clips of %d faces are apart", what, *counts)


def _ids(specs: Iterable[ClipSpec]) -> Ids:
    # May be an iterator, and is read twice.
    specs = list(specs)
    return {"subject": {s.subject for s in specs}, "clip": {s.recipe for s in specs}}
