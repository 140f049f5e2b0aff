"""Start quickly: most of the time of a single clip is the loading of libraries.

A network as small as the embedded one also takes ten times the processor time on two cores, which
wait for each other in every layer.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deft_llm.resources import EMBEDDED

if TYPE_CHECKING:
    from deft_llm.deft.inference.explainer import Explainer

_THREADS = "OMP_NUM_THREADS"  # by which the user says how many
_LARGE = 100_000_000  # parameters from which a network gains by more cores


@contextmanager
def without_collection() -> Iterator[None]:
    """No garbage collection while modules load: they make a million objects that all stay."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # What has been loaded is never looked at again.
        gc.freeze()
        if was_on:
            gc.enable()


def use_one_thread() -> None:
    """Let torch and numpy use one thread, unless the user said how many.

    Networks and matrices are small here: a second thread mostly waits, and burns its core doing so.
    """
    if _THREADS not in os.environ:
        # Read when numpy is loaded, so before torch, which loads it.
        # OpenBLAS starts its threads when it is loaded, and cannot give them up later.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with without_collection():
        import torch

    if _THREADS not in os.environ:
        torch.set_num_threads(1)


def check_model(checkpoint: Path) -> None:
    """Fail on a model that is not there before clips are measured for it, which may take hours.

    Raises:
        UserError: If the folder or one of its files is missing.
    """
    # The one that comes along is whole, and looking at it loads libraries that a clip that cannot
    # be read never needs.
    if str(checkpoint) != EMBEDDED:
        from deft_llm.deft.inference.adapted import model_path
        from deft_llm.deft.inference.loading import require_whole

        require_whole(model_path(checkpoint))


def load_explainer(checkpoint: Path) -> Explainer:
    """Load a model quickly; a large one gets all cores.

    Raises:
        UserError: If the folder or one of its files is missing or damaged.
    """
    with without_collection():
        import torch
        from transformers.utils import logging

        from deft_llm.deft.inference.explainer import Explainer

        # The loading of small weights would flash a bar over what is printed.
        logging.disable_progress_bar()
        loaded = Explainer.load(checkpoint)
    size = sum(weights.numel() for weights in loaded.model.parameters())
    if size > _LARGE and _THREADS not in os.environ:
        torch.set_num_threads(os.cpu_count() or 1)
    return loaded
