"""What is left of a round when the process ends while it is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_llm.federated import checkpoint
from deft_llm.federated.checkpoint import Progress
from deft_llm.federated.client import Order


def after(rounds: int) -> Progress:
    state = {"w": np.full(2, rounds, np.float32)}
    return Progress(Order(rounds + 1, state), {}, [{"round": k + 1} for k in range(rounds)])


@pytest.mark.parametrize("step", ["write_lines", "save_file", "write_text"])
def test_every_finished_round_has_its_row(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, after(1))

    def stops(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, step, stops)
        checkpoint.save(tmp_path, after(2))
    found = checkpoint.load(tmp_path, {})
    assert [row["round"] for row in found.log] == list(range(1, found.done + 1))
    # The round that was stopped is run again, and is there once.
    checkpoint.save(tmp_path, after(2))
    found = checkpoint.load(tmp_path, {})
    assert found.done == 2 and [row["round"] for row in found.log] == [1, 2]
