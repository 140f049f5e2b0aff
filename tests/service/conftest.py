"""A server whose clips are not really measured and whose answers are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deft_llm.clip import Explanation
from deft_llm.deft.inference.answer import Answer
from deft_llm.motion.measure import Measurement
from deft_llm.service.clip_service import ClipResult, ClipService, ModelChoice
from deft_llm.service.limits import check_video
from deft_llm.service.models import Models
from deft_llm.viz.report import ClipInfo

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from .serving import Served


@pytest.fixture(scope="module")
def models(tiny_checkpoint: Path) -> Models:
    return Models(tiny_checkpoint)


@pytest.fixture
def served(
    models: Models,
    tmp_path: Path,
    make_measurement: Callable[..., Measurement],
    monkeypatch: pytest.MonkeyPatch,
) -> Served:
    # Not at the top: the other tests of this folder do without the extra that serving needs.
    from deft_llm.service.clip_store import ClipStore

    from .serving import FOUND, LIMITED, SAID, Served

    here = Served(ClipService(models, LIMITED), ClipStore(tmp_path / "clips"))
    here.store.folder.mkdir()
    explanation = Explanation("surprise", {"surprise": 0.9, "none": 0.1}, {"1": 0.9}, ())
    seen = ClipResult(ClipInfo("clip", 12, 200.0, 0.06), make_measurement(), explanation)

    def explain(path: Path) -> ClipResult:
        here.explained.append(path)
        if here.fault is not None:
            raise here.fault
        check_video(path, here.service.limits)
        return seen

    def answer(_: ClipResult, turns: Any, question: str, choice: ModelChoice) -> Answer:
        here.asked.append((list(turns), question, choice.temperature))
        return Answer(SAID[1], FOUND)

    monkeypatch.setattr(here.service, "explain", explain)
    monkeypatch.setattr(here.service, "answer", answer)
    return here


@pytest.fixture
def client(served: Served) -> TestClient:
    return served.client()
