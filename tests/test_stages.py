"""Stages reach the listener of their own thread, and nobody else."""

from __future__ import annotations

from threading import Thread

import pytest

from deft_llm import stages


def test_a_listener_hears_its_block_and_its_thread() -> None:
    told: list[str] = []
    elsewhere = Thread(target=stages.begin, args=(stages.READING,))
    stages.begin(stages.READING)  # nobody listens
    with stages.heard(told.append):
        stages.begin(stages.FINDING)
        elsewhere.start()
        elsewhere.join()
        with stages.heard(lambda stage: told.append(f"inner {stage}")):
            stages.begin(stages.MEASURING)
        stages.begin(stages.EXPLAINING)
    stages.begin(stages.READING)
    assert told == [stages.FINDING, "inner measuring", stages.EXPLAINING]


def test_an_error_ends_the_listening() -> None:
    told: list[str] = []
    with pytest.raises(KeyError), stages.heard(told.append):
        raise KeyError
    stages.begin(stages.READING)
    assert told == []
