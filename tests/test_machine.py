"""What training asks of the machine."""

from __future__ import annotations

import logging

import pytest
import torch

from deft_llm.machine import takes_bfloat16


@pytest.mark.parametrize(
    ("wanted", "cuda", "cpu", "taken"),
    [
        (True, True, "AVX2", True),
        (True, False, "AVX512", True),
        (True, False, "AVX2", False),
        (True, False, "DEFAULT", False),
        (False, True, "AVX512", False),
        (False, False, "AVX2", False),
    ],
)
def test_bfloat16_is_taken_where_there_are_kernels_for_it(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wanted: bool,
    cuda: bool,
    cpu: str,
    taken: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: cpu)
    with caplog.at_level(logging.INFO):
        assert takes_bfloat16(wanted) is taken
    assert ("float32 it is" in caplog.text) is (wanted and not taken)
