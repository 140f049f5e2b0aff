"""Compiled loops run also where numba finds no folder for their machine code."""

from __future__ import annotations

import pytest
from numba.core.dispatcher import Dispatcher

from deft_llm import compiled


def doubled(x: float) -> float:
    return 2 * x


def test_without_a_folder_for_machine_code_loops_run_and_this_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A shared installation, and a user without a home that can be written."""

    def refuse(self: Dispatcher) -> None:
        raise RuntimeError("cannot cache function 'doubled': no locator available")

    monkeypatch.setattr(Dispatcher, "enable_caching", refuse)
    compiled._tell.cache_clear()
    for _ in range(2):
        assert compiled.compiled(nogil=True)(doubled)(3.0) == 6.0
    assert [r.message.split(":")[1] for r in caplog.records] == [
        " set NUMBA_CACHE_DIR to a folder that you may write"
    ]
