"""The demo's functions, as the page calls them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import gradio as gr
import numpy as np
import pytest

from deft_llm.deft.explain import Explainer

from .conftest import Film, Frames

APP = Path(__file__).resolve().parents[2] / "demo" / "app.py"


@pytest.fixture(scope="module")
def app() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_app", APP)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def explainer(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Explainer:
    monkeypatch.setattr("deft_llm.deft.explain.MAX_NEW_TOKENS", 8)
    return Explainer.load(tiny_checkpoint)


def test_a_clip_is_explained_and_asked_about(
    app: ModuleType, explainer: Explainer, film: Film, face: Frames
) -> None:
    demo = app.Demo(explainer)
    text, strip, report, state, chat = demo.explain(str(film("clip.mp4", face)))
    assert "emotion" in text and Path(strip).is_file() and Path(report).is_file()
    assert chat == []
    cleared, chat = demo.ask("What moved?", chat, state)
    cleared, chat = demo.ask("And why?", chat, state)
    assert cleared == "" and [turn["role"] for turn in chat] == ["user", "assistant"] * 2


def test_nothing_is_invented_about_a_still_face(
    app: ModuleType, explainer: Explainer, film: Film, face: Frames
) -> None:
    """A question about a clip without motion is answered by saying so, not by the model."""
    still = np.repeat(face[:1], 20, axis=0)
    demo = app.Demo(explainer)
    *_, state, chat = demo.explain(str(film("still.mp4", still)))
    _, chat = demo.ask("Which emotion?", chat, state)
    assert chat[-1]["content"].startswith("no motion above the noise floor")


def test_errors_are_one_line_for_the_page(
    app: ModuleType, explainer: Explainer, film: Film
) -> None:
    demo = app.Demo(explainer)
    grey = np.full((12, 120, 160, 3), 90, np.uint8)
    with pytest.raises(gr.Error, match="no face found"):
        demo.explain(str(film("no face.mp4", grey)))
    with pytest.raises(gr.Error, match="choose a clip"):
        demo.explain(None)
    with pytest.raises(gr.Error, match="explain a clip first"):
        demo.ask("Why?", [], None)


def test_the_page_builds(app: ModuleType, explainer: Explainer) -> None:
    names = {
        dependency["api_name"]
        for dependency in app.build(explainer).get_config_file()["dependencies"]
    }
    assert {"explain", "ask"} <= names
