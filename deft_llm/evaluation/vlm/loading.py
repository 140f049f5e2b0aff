"""Open a vision-language model: from a folder or by name, or behind a server."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from deft_llm.evaluation.vlm.base import Vlm, VlmChoice


def load_vlm(choice: VlmChoice) -> Vlm:
    """Load a model, or reach the server that has it; the last one is kept.

    Raises:
        UserError: If the model cannot be loaded, has no chat template, or nothing answers.
    """
    return _loaded(choice.model_dump_json())


@lru_cache(maxsize=1)
def _loaded(choice: str) -> Vlm:
    # Imported when one is asked for: transformers takes seconds, an endpoint needs none of it.
    from deft_llm.evaluation.vlm.endpoint import EndpointVlm
    from deft_llm.evaluation.vlm.local import LocalVlm

    wanted: Any = VlmChoice.model_validate_json(choice)
    return EndpointVlm(wanted) if wanted.endpoint else LocalVlm(wanted)
