"""What training asks of the machine."""

from __future__ import annotations

import logging

import pytest
import torch

from deft_llm import machine
from deft_llm.machine import takes_bfloat16, use_all_cores


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


@pytest.mark.parametrize(
    ("said", "launched", "before", "given"),
    [
        (None, False, set(), 4),
        ("1", False, set(), None),
        ("2", False, set(), None),
        ("1", True, set(), 2),  # by the launcher itself
        ("8", True, set(), 2),
        ("1", True, {"OMP_NUM_THREADS"}, None),
    ],
)
def test_the_users_number_of_threads_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    said: str | None,
    launched: bool,
    before: set[str],
    given: int | None,
) -> None:
    asked: list[int] = []
    for name in (*machine._LAUNCHED, "OMP_NUM_THREADS", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    if launched:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
        monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(machine, "_of_launcher", lambda: before)
    monkeypatch.setattr(machine, "_cores", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    use_all_cores()
    assert asked == ([] if given is None else [given])
