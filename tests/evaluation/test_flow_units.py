"""AUs named from flow images against codings, by numbers counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_llm.deft.inference.flow_classifier import DeftOnFlow
from deft_llm.errors import UserError
from deft_llm.evaluation.explanation.flow_aus import scores


def test_scores_of_a_small_case() -> None:
    coded = [{4}, {4, 7}, {12}, {12, 25}]
    named = [{4}, {7}, {12, 4}, {12}]
    figures, table = scores(coded, named, least=2)
    values = {figure.name: figure.value for figure in figures}
    # AU4: 1 hit, 2 coded, 2 named; AU12: 2 of 2 and 2. AU7 and AU25 are coded once.
    assert values["au_macro_f1"] == pytest.approx((0.5 + 1.0) / 2)
    assert values["au_macro_f1_all_named"] == pytest.approx(2 / 3)
    assert values["au_precision"] == pytest.approx(4 / 5)
    assert values["au_recall"] == pytest.approx(4 / 6)
    assert (values["clips"], values["scored_aus"]) == (4, 2)
    assert "| 4 | 2 | 2 | 0.500 |" in table
    with pytest.raises(UserError, match="no AU is coded in 5 of 4 clips"):
        scores(coded, named, least=5)


def test_units_are_read_from_the_written_answer(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DeftOnFlow(3, str(tiny_checkpoint))
    answers = ["AU4 brow lowerer, AU12 lip corner puller on the left", "No action unit."]
    monkeypatch.setattr(model.explainer, "generate", lambda *_, **__: answers)
    images = np.zeros((2, 3, 28, 28), np.float32)
    assert model.units(images) == [{4, 12}, frozenset()]
