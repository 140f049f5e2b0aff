"""The parser network: a small transformer that tells the frame of a question.

Words are vectors of a language model, which the network projects and never changes, so that a word
that was in no training question still lies beside those of its meaning. What is saved are the
projected vectors in 8 bits; the rest is a few tenths of a megabyte. The design is our own.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from deft_llm import weights as network_files
from deft_llm.queries.frame_scores import Trust
from deft_llm.queries.marks import Asked
from deft_llm.queries.query import Query
from deft_llm.queries.tokens import LENGTH, SPECIAL, encode, tags, tokens

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""Folder of the project's own trained parser."""


class ParserConfig(BaseModel):
    """Sizes of the network.

    Attributes:
        width: Of the tokens inside the network.
        layers: Transformer layers.
        heads: Attention heads.
        dropout: Share of the tokens' and the head's activations that training drops.
        words: Words with a vector.
        vector: Length of their vectors.
        letters: Bytes of the list of words.
        frames: The frames (``frames.py``), in the order of the outputs.
    """

    width: int = Field(default=64, ge=8)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.15, ge=0, lt=1)
    words: int = Field(default=0, ge=0)
    vector: int = Field(default=64, ge=1)
    letters: int = Field(default=0, ge=0)
    frames: tuple[str, ...] = ()


class QuestionParser(nn.Module):
    """Frames of questions.

    Attributes:
        config: The sizes.
    """

    #: The rules know what it was trained on as well: against them it must be surer than a reader.
    trust = Trust(sure=0.8, refers=0.93, certain=0.9, fair=0.3)
    table: Tensor
    scale: Tensor
    spelt: Tensor

    def __init__(self, config: ParserConfig) -> None:
        super().__init__()
        self.config = config
        width, folded = config.width, config.vector == config.width
        self.register_buffer("table", torch.zeros(config.words, config.vector, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(config.words, 1))
        self.register_buffer("spelt", torch.zeros(config.letters, dtype=torch.uint8))
        self.project = nn.Identity() if folded else nn.Linear(config.vector, width, bias=False)
        self.special = nn.Embedding(SPECIAL, width, padding_idx=0)
        self.tags = nn.EmbeddingBag(len(tags()) + 1, width, mode="sum", padding_idx=0)
        self.place = nn.Parameter(torch.randn(LENGTH, width) * 0.1)
        # Dropout inside the layers would cost a third of a training step.
        layer = nn.TransformerEncoderLayer(
            width, config.heads, 3 * width, 0.0, "gelu", batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.drop = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * width, len(config.frames))

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Word -> its number."""
        listed = bytes(self.spelt.tolist()).decode().split("\n")
        return {word: i for i, word in enumerate(listed, start=SPECIAL)}

    def set_words(self, words: list[str], vectors: Tensor) -> None:
        """Give the words their vectors (words, vector), rounded to 8 bits."""
        scale = vectors.abs().amax(1, keepdim=True).clamp(min=1e-6) / 127
        self.table.copy_((vectors / scale).round().to(torch.int8))
        self.scale.copy_(scale)
        self.spelt.copy_(torch.tensor(list("\n".join(words).encode()), dtype=torch.uint8))

    def vectors(self) -> Tensor:
        """Projected vectors (words, width) of the words."""
        projected: Tensor = self.project(self.table.float() * self.scale)
        return projected

    def forward(self, words: Tensor, named: Tensor) -> Tensor:
        """Scores of the frames.

        Args:
            words: (B, L) numbers of words.
            named: (B, L, K) numbers of their tags.

        Returns:
            (B, frames) logits.
        """
        known = (words >= SPECIAL)[..., None]
        rows = (words - SPECIAL).clamp(min=0)
        vectors = self.project(self.table[rows].float() * self.scale[rows])
        token = torch.where(known, vectors, self.special(words.clamp(max=SPECIAL - 1)))
        token = token + self.tags(named.flatten(0, 1)).view_as(token) + self.place[: words.shape[1]]
        missing = words == 0
        missing[:, 0] = False  # the first token stands for what was asked before
        hidden = self.encoder(self.drop(token), src_key_padding_mask=missing)
        there = (~missing)[..., None]
        mean = (hidden * there).sum(1) / there.sum(1)
        scores: Tensor = self.head(self.drop(torch.cat([hidden[:, 0], mean], 1)))
        return scores

    @property
    def frames(self) -> tuple[str, ...]:
        """The frames, in the order of the scores."""
        return self.config.frames

    def scores(self, asked: Asked, before: Query | None) -> Tensor:
        """Scores (frames,) of one question, in the light of the query before it."""
        words, named = encode([tokens(asked, before)], self.vocabulary)
        length = int((words > 0).sum()) + 1
        found: Tensor = self(
            torch.from_numpy(words[:, :length]), torch.from_numpy(named[:, :length])
        )[0]
        return found

    @torch.no_grad()
    def folded(self) -> QuestionParser:
        """The same network with its words already projected, which is a tenth of the size."""
        own = QuestionParser(self.config.model_copy(update={"vector": self.config.width}))
        state = {name: x for name, x in self.state_dict().items() if name in own.state_dict()}
        vectors = self.vectors()
        state["table"] = own.table  # filled in below
        own.load_state_dict(state)
        own.set_words(list(self.vocabulary), vectors)
        return own.eval()


def load_parser(folder: Path = WEIGHTS) -> QuestionParser:
    """Read a network, float32, in evaluation mode; see ``network_files.load_network``."""
    return network_files.load_network(
        folder,
        ParserConfig,
        QuestionParser,
        "question parser",
        "`train.py train_configs/queries/small.yaml`",
    )
