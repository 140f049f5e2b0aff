"""A language model as a reader of questions: what is kept of it, what it takes, what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from deft_llm.errors import UserError
from deft_llm.queries.frame_scores import Trust
from deft_llm.queries.language_model import (
    LENGTH,
    QuestionReader,
    ReaderConfig,
    batched,
    load_reader,
)
from deft_llm.queries.marks import Asked
from deft_llm.queries.parser import read
from deft_llm.queries.query import Query, parse_query
from deft_llm.queries.understand import understand, understand_turns
from deft_llm.weights import save_network

FRAMES = ("blink?", "decline topic=age", "moved?", "same", "unknown")
QUESTIONS = ("did the chin move", "how old is she", "did both of her eyebrows go up at the peak")


@pytest.fixture
def config(text_folder: Path) -> ReaderConfig:
    return ReaderConfig(language_model=str(text_folder), layers=1, lora_rank=2, frames=FRAMES)


@pytest.fixture
def reader(config: ReaderConfig) -> QuestionReader:
    """As after some training: at first the adapters change nothing."""
    torch.manual_seed(0)
    made = QuestionReader(config).eval()
    with torch.no_grad():
        for name, weights in made.named_parameters():
            if weights.requires_grad:
                weights.add_(0.2 * torch.randn_like(weights), alpha=1.0 if "lora" in name else 0.1)
    return made


class Sure:
    """A network that is sure of one frame."""

    trust = Trust(sure=0.5, refers=0.5, certain=0.9, fair=0.1)

    def __init__(self, frame: str) -> None:
        self.frames, self.frame = FRAMES, frame

    def scores(self, asked: Asked, before: Query | None) -> Tensor:
        return torch.tensor([20.0 if frame == self.frame else 0.0 for frame in self.frames])


def test_what_is_kept_is_what_was_learned(
    reader: QuestionReader, config: ReaderConfig, tmp_path: Path
) -> None:
    """Adapters and the layer on top alone; put into the language model they say the same."""
    state = reader.state_dict()
    assert state.keys() == {n for n, p in reader.named_parameters() if p.requires_grad}
    assert all("lora" in name or name.startswith("head.") for name in state)
    layers = {name.split("layers.")[1].split(".")[0] for name in state if "layers." in name}
    assert layers == {"0"}, "the second layer of the language model is not used"
    save_network(reader, tmp_path)
    again = load_reader(tmp_path)
    assert again.config == config
    assert not any("lora" in name for name, _ in again.named_parameters())
    for text in QUESTIONS:
        with torch.inference_mode():
            scores = reader.scores(Asked.of(text), None)
            torch.testing.assert_close(again.scores(Asked.of(text), None), scores)
        assert scores.std() > 0.01


def test_a_part_that_is_missing_or_unknown_is_told(reader: QuestionReader, tmp_path: Path) -> None:
    state = reader.state_dict()
    with pytest.raises(RuntimeError, match=r"1 parts differ, such as head\.bias"):
        reader.load_state_dict({name: x for name, x in state.items() if name != "head.bias"})
    with pytest.raises(RuntimeError, match="1 parts differ, such as strange"):
        reader.load_state_dict({**state, "strange": torch.zeros(1)})
    save_network(reader, tmp_path)
    settings = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(settings.replace('"lora_rank": 2', '"lora_rank": 3'))
    with pytest.raises(UserError, match=r"does not fit its config\.json"):
        load_reader(tmp_path)


def test_a_question_reads_the_same_in_a_batch(reader: QuestionReader) -> None:
    tokens = [reader.tokens(Asked.of(text), None) for text in QUESTIONS]
    with torch.inference_mode():
        together = reader(*batched(tokens))
        alone = torch.stack([reader.scores(Asked.of(text), None) for text in QUESTIONS])
    torch.testing.assert_close(together, alone)


def test_what_was_asked_before_is_read_too_and_length_is_bounded(reader: QuestionReader) -> None:
    asked, before = Asked.of("and the chin"), parse_query("moved? region=mouth")
    assert len(reader.tokens(asked, before)) > len(reader.tokens(asked, None))
    assert len(reader.tokens(Asked.of("chin " * 500), None)) == LENGTH
    with torch.inference_mode():
        assert not torch.equal(reader.scores(asked, before), reader.scores(asked, None))


def test_a_language_model_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read") as caught:
        QuestionReader(ReaderConfig(language_model=str(tmp_path), frames=FRAMES))
    assert "\n" not in str(caught.value)


def test_a_question_is_read_by_the_network_that_is_given() -> None:
    asked = Asked.of("the chin, whatever it does")
    found = read(asked, None, Sure("moved?"))
    assert found.query == parse_query("moved? region=chin") and found.share > 0.99
    text = "is it the chin what makes the difference"
    assert understand(text, None, Sure("moved?")) == parse_query("moved? region=chin")
    assert understand(text, None, Sure("unknown")).kind == "unknown"
    turns = ["did the mouth move", "chinwise"]
    assert understand_turns([*turns[:1], "and chin"], Sure("same")).regions == ("chin",)
