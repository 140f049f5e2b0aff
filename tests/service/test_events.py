"""Events of the page: the stage of the work is named, and an error leaves no stage behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deft_llm import stages
from deft_llm.errors import UserError

gr = pytest.importorskip("gradio", reason="needs the extra demo")

VISITOR: Any = SimpleNamespace(session_hash="x")


def test_the_stages_come_before_the_values() -> None:
    from deft_llm.service.events import in_stages

    def work(key: str, given: int) -> tuple[str, int]:
        stages.begin(stages.READING)
        stages.begin(stages.MEASURING)
        return key, given + 1

    *before, last = in_stages(work, 2)(VISITOR, 1)
    assert last == ("x", 2, "")
    assert [values[:2] for values in before] == [(gr.skip(), gr.skip())] * 2
    marked = [str(values[2]).partition('aria-current="step">')[2] for values in before]
    assert [text.partition("<")[0] for text in marked] == [stages.READING, stages.MEASURING]


def test_an_error_clears_the_stage_and_is_shown() -> None:
    from deft_llm.service.events import in_stages

    def work(key: str) -> tuple[str]:
        stages.begin(stages.FINDING)
        raise UserError("no face in <clip>")

    seen: list[str] = []
    with pytest.raises(gr.Error, match="no face in &lt;clip&gt;"):
        for values in in_stages(work, 1)(VISITOR):
            seen.append(str(values[-1]))
    assert stages.FINDING in seen[0] and seen[1:] == [""]


def test_a_program_gets_plain_text_and_the_log_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """As HTML, a comparison would reach a Python exception as "&lt;="."""
    from deft_llm.service.events import reported

    def work(onset: int) -> None:
        raise UserError(f"onset {onset}: expected 0 <= onset,\nin /tmp/up/<clip>.mp4")

    with pytest.raises(gr.Error) as refused:
        reported(work)(-1)
    assert refused.value.message == "onset -1: expected 0 <= onset,\nin <clip>.mp4"
    assert not refused.value.print_exception, "gradio prints a traceback otherwise"
    assert caplog.messages == ["refused: onset -1: expected 0 <= onset, in <clip>.mp4"]


def test_work_without_a_stage() -> None:
    from deft_llm.service.events import in_stages

    assert list(in_stages(lambda key: (key,), 1)(VISITOR)) == [("x", "")]
