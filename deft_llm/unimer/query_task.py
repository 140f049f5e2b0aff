"""Training of the question parser on composed questions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from deft_llm.config import read_recipe
from deft_llm.downloads import DOWNLOADS, model_folder
from deft_llm.queries import tokens as asking
from deft_llm.queries.lexicon import lexicon
from deft_llm.queries.network import ParserConfig, QuestionParser, load_parser
from deft_llm.training.loop import Batch, Goal
from deft_llm.training.rendered import RenderedTask, train_rendered
from deft_llm.training.run_folder import claimed_folder
from deft_llm.unimer.question_sets import QuestionRecipe, QuestionSet
from deft_llm.weights import save_network

_EVALUATED = 512  # questions per evaluation batch
_EMBEDDINGS = "model.embed_tokens.weight"


class ParserRecipe(QuestionRecipe):
    """A file of ``train_configs/queries`` with ``task: queries``.

    Attributes:
        words_from: Language model whose vectors the words have: one of ``deft-llm models``, or a
            folder. None gives each word a vector of its own, which knows no meaning.
        words: How many of its most frequent words have a vector, besides those of the lexicon.
        model: Sizes of the network.
        batch_size: Questions per batch.
    """

    words_from: str | None = None
    words: int = Field(default=12000, ge=1)
    model: ParserConfig = ParserConfig()
    batch_size: int = Field(default=128, ge=1)


class ParserTask(RenderedTask[ParserRecipe, QuestionSet]):
    """The network, its loss and the questions."""

    goal: Goal = ("right", "max")

    def __init__(
        self, recipe: ParserRecipe, store: QuestionSet, held_out: QuestionSet | None = None
    ) -> None:
        super().__init__(recipe, store, held_out)
        # Encoded once: the network is so small that this would cost half of every step.
        self._trained_on = self._encoded(store)
        self._held_out = self._encoded(held_out) if held_out is not None else None

    def network(self, start: Path | None) -> torch.nn.Module:
        """The network to start from, or a new one with the vectors of its words."""
        if start is not None:
            return load_parser(start)
        words, vectors = word_vectors(self.recipe.words_from, self.recipe.words)
        sizes = {
            **{"words": len(words), "vector": vectors.shape[1]},
            **{"letters": len("\n".join(words).encode())},
            **{"frames": tuple(sorted(set(self.store.frames)))},
        }
        made = QuestionParser(self.recipe.model.model_copy(update=sizes))
        made.set_words(words, vectors)
        return made

    @property
    def parser(self) -> QuestionParser:
        """The network."""
        found = self.model
        assert isinstance(found, QuestionParser)
        return found

    def batch(self, index: int) -> dict[str, Tensor]:
        """Questions drawn with replacement; depends only on the seed and the index."""
        rng = np.random.default_rng([self.recipe.seed, index])
        return _chosen(self._trained_on, rng.integers(len(self.store), size=self.recipe.batch_size))

    def _encoded(self, store: QuestionSet) -> dict[str, Tensor]:
        asked = zip(store.asked, store.earlier, strict=True)
        words, named = asking.encode(
            [asking.tokens(*each) for each in asked], self.parser.vocabulary
        )
        number = {frame: i for i, frame in enumerate(self.parser.config.frames)}
        return {
            "words": torch.from_numpy(words.astype(np.int32)),
            "named": torch.from_numpy(named.astype(np.int16)),
            # -100: the cross entropy ignores frames that no training question has.
            "frame": torch.tensor([number.get(frame, -100) for frame in store.frames]),
        }

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Forward pass and loss."""
        scores = self.model(batch["words"], batch["named"])
        smoothing = self.recipe.smoothing
        return {"loss": functional.cross_entropy(scores, batch["frame"], label_smoothing=smoothing)}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Scores of the frames."""
        self.model.eval()
        scores: Tensor = self.model(batch["words"], batch["named"])
        return scores

    def evaluate(self) -> dict[str, float]:
        """Scores on the held-out questions."""
        if self.held_out is None or self._held_out is None:
            return {}
        device = next(self.model.parameters()).device
        found: list[int] = []
        for first in range(0, len(self.held_out), _EVALUATED):
            batch = _chosen(
                self._held_out,
                np.arange(first, min(first + _EVALUATED, len(self.held_out))),
            )
            scores = self.predict({name: x.to(device) for name, x in batch.items()})
            found += scores.argmax(1).tolist()
        frames = self.parser.config.frames
        return self.held_out.scores([frames[i] for i in found])

    def save(self, folder: Path) -> None:
        """Save the network with projected words, and its configuration."""
        save_network(self.parser.folded(), folder, getattr(torch, self.recipe.save_dtype))


def _chosen(encoded: dict[str, Tensor], rows: NDArray[np.int64]) -> dict[str, Tensor]:
    """Some questions as a batch, without the places that none of them fills."""
    taken = {name: x[torch.from_numpy(rows)] for name, x in encoded.items()}
    longest = int((taken["words"] > 0).sum(1).max()) + 1
    return {
        "words": taken["words"][:, :longest].long(),
        "named": taken["named"][:, :longest].long(),
        "frame": taken["frame"],
    }


def word_vectors(source: str | None, count: int) -> tuple[list[str], Tensor]:
    """Words and their vectors (words, D), of length 1 after the mean is taken off.

    Args:
        source: Name of a language model that was downloaded, or its folder; None for vectors that
            are drawn by the word's spelling.
        count: Its most frequent words to take, besides those of the lexicon.

    Raises:
        UserError: If the language model is not here.
    """
    own = sorted(set(lexicon().known.values()))
    if source is None:
        return own, torch.stack([_by_spelling(word) for word in own])
    from tokenizers import Tokenizer

    folder = model_folder(source) if source in DOWNLOADS else Path(source)
    with safe_open(folder / "model.safetensors", "pt") as file:
        embeddings = file.get_tensor(_EMBEDDINGS).float()
    pieces = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    ordered = sorted(pieces, key=pieces.__getitem__)
    # U+0120 is the space of byte-level BPE: these pieces begin a word.
    whole = [p[1:] for p in ordered if p[:1] == "\u0120" and p[1:].isalpha() and p[1:].islower()]
    frequent = [word for word in whole if word.isascii()][:count]
    words = list(dict.fromkeys([*own, *frequent]))
    return words, _centred(words, Tokenizer.from_file(str(folder / "tokenizer.json")), embeddings)


def _centred(words: Sequence[str], tokenizer: Any, embeddings: Tensor) -> Tensor:
    # With the space before it, as the word stands inside a sentence.
    rows = [embeddings[tokenizer.encode(f" {word}").ids].mean(0) for word in words]
    vectors = torch.stack(rows)
    return functional.normalize(vectors - vectors.mean(0), dim=1)


def _by_spelling(word: str, size: int = 64) -> Tensor:
    digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
    drawn = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return functional.normalize(torch.randn(size, generator=drawn), dim=0)


def train(values: dict[str, Any], where: str) -> None:
    """Train a question parser from a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: File of the recipe, for messages.

    Raises:
        UserError: If the recipe is invalid, the folder belongs to another recipe, or the language
            model that gives the words their vectors is not here.
    """
    recipe = read_recipe(ParserRecipe, values, where)
    with claimed_folder(recipe.output, recipe):
        train_rendered(recipe, recipe.output, QuestionSet.drawn, ParserTask, "questions")
