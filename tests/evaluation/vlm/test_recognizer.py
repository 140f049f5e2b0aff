"""A vision-language model as a row of a corpus' table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.evaluation.vlm.recognizer import VlmRecognizer
from deft_llm.recognizers.base import load_recognizer
from tests.evaluation.conftest import Server, said

from .tiny_models import tiny_vlm

LABELS = ["negative", "positive", "surprise"]


def vlm(**options: Any) -> VlmRecognizer:
    made = load_recognizer("vlm", 3, labels=LABELS, **options)
    assert isinstance(made, VlmRecognizer)
    return made


def test_likelihood_where_the_model_tells_it(
    tmp_path: Path, inputs: dict[str, NDArray[Any]]
) -> None:
    folder = tiny_vlm("qwen3_vl", tmp_path)
    options = {"model": str(folder), "device": "cpu", "show": ["onset_apex", "regions"]}
    made = vlm(**options)
    assert made.inputs == ("key_frames", "regions")
    clips = {name: inputs[name][None].repeat(2, 0) for name in made.inputs}
    p = made.predict_proba(clips)
    assert p.shape == (2, 3) and p.sum(1) == pytest.approx(1)
    np.testing.assert_allclose(p[0], p[1], atol=1e-6)


def test_what_cannot_be_read_is_no_class(server: Server, inputs: dict[str, NDArray[Any]]) -> None:
    replies = iter(["It is Positive.", "positive or negative", "joy"])
    server.reply = lambda _: (200, said(next(replies)))
    options = {"model": "m", "endpoint": server.url, "show": ["regions"]}
    made = vlm(**options)
    p = made.predict_proba({"regions": inputs["regions"][None].repeat(3, 0)})
    assert p.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    text = server.asked[0]["messages"][0]["content"][-1]["text"]
    assert text.startswith("Measured motion") and "negative, positive, surprise" in text
    strict = vlm(answer="likelihood", **options)
    with pytest.raises(UserError, match="an endpoint tells no likelihoods"):
        strict.predict_proba({"regions": inputs["regions"][None]})


def test_wrong_options_are_named() -> None:
    with pytest.raises(UserError, match="vlm: unknown key 'modell'; did you mean 'model'"):
        load_recognizer("vlm", 3, labels=LABELS, modell="m")
    with pytest.raises(UserError, match="unknown view 'film'"):
        load_recognizer("vlm", 3, labels=LABELS, model="m", show=["film"])
    with pytest.raises(UserError, match="vlm: answer"):
        load_recognizer("vlm", 3, labels=LABELS, model="m", answer="json")
