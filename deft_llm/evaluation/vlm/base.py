"""The interface of a vision-language model, local or behind an endpoint, and how it is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.evaluation.vlm.views import Image


class NoAnswer(UserError):
    """A model that does not answer, whatever it is asked."""


class Vlm(Protocol):
    """A vision-language model."""

    def write(self, pictures: Sequence[Image], question: str, tokens: int) -> str:
        """What it writes when it is asked, without sampling.

        Args:
            pictures: uint8 RGB (H, W, 3), shown before the question.
            question: The question.
            tokens: Most tokens of the answer.

        Raises:
            NoAnswer: If it does not answer.
        """
        ...

    def log_likelihoods(
        self, pictures: Sequence[Image], question: str, labels: Sequence[str]
    ) -> list[float] | None:
        """Log-likelihood of each label as the whole answer; None if it does not tell them."""
        ...


class VlmChoice(Settings):
    """Which model is asked.

    Attributes:
        model: Folder or hub name of an image-text-to-text model of transformers; with an endpoint,
            the name by which it serves the model.
        endpoint: Base of an OpenAI-compatible server (``http://localhost:8000/v1``); None loads
            the model here.
        api_key_variable: Environment variable that holds the key of the endpoint.
        timeout_s: Seconds that one answer of the endpoint may take.
        device: Where a local model runs; None for the accelerator, if there is one.
        revision: Of a model on the hub.
    """

    model: str
    endpoint: str | None = None
    api_key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = Field(default=120.0, gt=0)
    device: str | None = None
    revision: str | None = None
