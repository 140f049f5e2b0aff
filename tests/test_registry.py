from __future__ import annotations

import pytest

from deft_llm.corpora.base import CORPORA
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import BENCHMARKS
from deft_llm.media.backends import BACKENDS
from deft_llm.media.landmarks import LANDMARK_FINDERS
from deft_llm.motion.flow import FLOW_METHODS
from deft_llm.recognizers.base import RECOGNIZERS
from deft_llm.registry import resolve
from deft_llm.simulator.head import HEADS
from deft_llm.training.tasks import COSTS, TASKS

FAMILIES = {
    "benchmark": BENCHMARKS,
    "corpus": CORPORA,
    "flow method": FLOW_METHODS,
    "head": HEADS,
    "landmark finder": LANDMARK_FINDERS,
    "plan": COSTS,
    "recognizer": RECOGNIZERS,
    "task": TASKS,
    "video backend": BACKENDS,
}


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, f in FAMILIES.items() for n in f])
def test_every_registered_name_is_there(kind: str, name: str) -> None:
    # A registry is text, so that no import and no type checker finds a line that a move broke.
    assert callable(resolve(FAMILIES[kind], name, kind))


def test_an_unknown_name_costs_no_import_and_is_told_with_the_nearest() -> None:
    registry = {"lk": "no.such.module:Thing", "dis": "nor.this:One"}
    with pytest.raises(UserError) as caught:
        resolve(registry, "lkk", "flow method", where="a.yaml")
    message = "a.yaml: unknown flow method 'lkk', expected one of lk, dis; did you mean 'lk'?"
    assert str(caught.value) == message
    with pytest.raises(UserError, match=r"^unknown flow method 'x', expected one of lk, dis$"):
        resolve(registry, "x", "flow method")
