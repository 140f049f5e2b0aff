"""Questions read by a language model: its first layers, with adapters, tell a question's frame.

A pretrained language model knows what everyday words mean that no training question has. Only
adapters and the layer on top are learned and kept; the model itself is the user's download. What a
frame is filled in with are the words of the question, as with the small network (``network.py``).
The design is our own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from pydantic import BaseModel, Field
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from deft_llm import quiet
from deft_llm import weights as network_files
from deft_llm.downloads import DOWNLOADS, model_folder
from deft_llm.errors import UserError
from deft_llm.queries.frame_scores import Trust
from deft_llm.queries.marks import Asked
from deft_llm.queries.query import Query

LENGTH = 64
"""Tokens of a question; later ones are left out."""


class ReaderConfig(BaseModel):
    """Sizes of a reader.

    Attributes:
        language_model: One of ``deft-llm models``, or a folder.
        layers: Its first layers that are used; later ones are turned towards the next word.
        lora_rank: Rank of the adapters.
        dropout: Share of the layer's inputs that training drops.
        frames: The frames (``frames.py``), in the order of the outputs.
    """

    language_model: str = "smollm2"
    layers: int = Field(default=12, ge=1)
    lora_rank: int = Field(default=8, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    frames: tuple[str, ...] = ()


class QuestionReader(nn.Module):
    """Frames of questions by a language model.

    ``state_dict`` holds what was learned: adapters and the layer on top.

    Args:
        config: The sizes.

    Raises:
        UserError: If the language model is not here, or damaged.
    """

    trust = Trust(sure=0.7, refers=0.93, certain=0.9, fair=0.1)

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        base, self._tokenizer = _language_model(config)
        adapters = LoraConfig(
            r=config.lora_rank, lora_alpha=2 * config.lora_rank, target_modules="all-linear"
        )
        with quiet.peft_names():
            self.language_model: Any = get_peft_model(base, adapters)
        self.drop = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * base.config.hidden_size, len(config.frames))
        nn.init.normal_(self.head.weight, std=0.005)  # all frames equally likely at first
        nn.init.zeros_(self.head.bias)

    @property
    def frames(self) -> tuple[str, ...]:
        """The frames, in the order of the scores."""
        return self.config.frames

    @cached_property
    def _learned(self) -> frozenset[str]:
        return frozenset(name for name, p in self.named_parameters() if p.requires_grad)

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """What was learned."""
        whole = super().state_dict(*args, **options)
        return {name: value for name, value in whole.items() if name in self._learned}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take over what was learned.

        Raises:
            RuntimeError: If a part is missing, is not known, or has another shape.
        """
        if differing := sorted(self._learned ^ state_dict.keys()):
            raise RuntimeError(f"{len(differing)} parts differ, such as {differing[0]}")
        loaded = super().load_state_dict(state_dict, strict=False, assign=assign)
        # The language model's own weights are not missing: checkpoints are read by this, too.
        return type(loaded)([], loaded.unexpected_keys)

    def merged(self) -> QuestionReader:
        """This reader with its adapters put into the language model, which is faster."""
        self.language_model = self.language_model.merge_and_unload()
        return self.eval()

    def tokens(self, asked: Asked, before: Query | None) -> list[int]:
        """The question as the language model takes it, after the query before it."""
        earlier = "" if before is None else f"{before}\n"
        ids: list[int] = self._tokenizer.encode(
            f"{earlier}{asked.text}\n", add_special_tokens=False
        ).ids
        return ids[:LENGTH]

    def forward(self, ids: Tensor, present: Tensor) -> Tensor:
        """Scores of the frames.

        Args:
            ids: (B, L) tokens.
            present: (B, L) 1 for a token, 0 for the rest after the end.

        Returns:
            (B, frames) logits.
        """
        read = self.language_model(input_ids=ids, attention_mask=present, use_cache=False)
        hidden = read.last_hidden_state
        count = present.sum(1)
        last = hidden[torch.arange(len(ids), device=ids.device), count - 1]
        mean = (hidden * present[..., None]).sum(1) / count[:, None]
        scores: Tensor = self.head(self.drop(torch.cat([last, mean], 1)))
        return scores

    def scores(self, asked: Asked, before: Query | None) -> Tensor:
        """Scores (frames,) of one question."""
        ids, present = batched([self.tokens(asked, before)])
        found: Tensor = self(ids, present)[0]
        return found


def batched(questions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Tokens of some questions as a batch (B, L), and where there are any."""
    rows = [torch.tensor(ids) for ids in questions]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    length = torch.tensor([len(row) for row in rows])
    present = torch.arange(ids.shape[1])[None] < length[:, None]
    return ids, present.long()


@lru_cache(maxsize=1)
def load_reader(folder: Path) -> QuestionReader:
    """Read adapters, put into their language model; see ``network_files.load_network``.

    The last one is kept: models that share it hold it once.
    """
    return network_files.load_network(
        folder,
        ReaderConfig,
        QuestionReader,
        "question reader",
        "`train.py train_configs/queries/smollm2.yaml`",
    ).merged()


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep transformers quiet about the layers that are left out: they are on purpose."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)


def _language_model(config: ReaderConfig) -> tuple[Any, Tokenizer]:
    name = config.language_model
    folder = model_folder(name) if name in DOWNLOADS else Path(name)
    try:
        sizes = AutoConfig.from_pretrained(folder)
        sizes.num_hidden_layers = min(config.layers, sizes.num_hidden_layers)
        with _without_report():
            model = AutoModel.from_pretrained(folder, config=sizes, dtype=torch.float32)
        return model, Tokenizer.from_file(str(folder / "tokenizer.json"))
    # The tokenizer's library raises Exception itself for a file that is none.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"language model {name!r}: cannot be read ({reason}); `deft-llm models` says whether "
            "it is damaged"
        ) from error
