"""The last finished round of a rule on disk, so that a stopped federation goes on from it.

``state/`` holds the mean, what stays at each site and the number of the round; it is replaced as a
whole. ``log.jsonl`` has a line for each round. Arrays are safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from deft_llm.errors import UserError
from deft_llm.federated.client import Order
from deft_llm.federated.rules import Arrays
from deft_llm.files import read_lines, replacing_folder, write_lines, write_text

_STATE, _LOG, _NOTE, _MEAN = "state", "log.jsonl", "round.json", "mean.safetensors"


@dataclass
class Progress:
    """Where a rule's rounds are.

    Attributes:
        order: What the next round begins with.
        memories: Site -> what stays there.
        log: A row for each finished round.
    """

    order: Order
    memories: dict[str, Arrays] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Number of finished rounds."""
        return self.order.number - 1


def save(folder: Path, progress: Progress) -> None:
    """Replace what is kept by the state after another round."""
    order = progress.order
    # Before the state: after a stop in between, `load` cuts the row off and the round is run again.
    # A state without its row would go on without it for good.
    write_lines(folder / _LOG, (json.dumps(row) for row in progress.log))
    with replacing_folder(folder / _STATE, overwrite=True) as partial:
        save_file(dict(order.state), partial / _MEAN)
        for site, memory in progress.memories.items():
            save_file(dict(memory), partial / f"site-{site}.safetensors")
        note = {
            "next": order.number,
            "clips": order.clips,
            "included": list(order.included),
            "sites": list(progress.memories),
            "rounds": len(progress.log),
        }
        write_text(partial / _NOTE, json.dumps(note))


def begun(run: Path) -> bool:
    """Whether a round of some rule is finished in the folder of a run."""
    return any(run.glob(f"*/{_STATE}*/{_NOTE}"))


def load(folder: Path, first: Mapping[str, Any]) -> Progress:
    """The last finished round, or the beginning with the weights ``first``.

    Raises:
        UserError: If a file is damaged.
    """
    state = folder / _STATE
    if not (state / _NOTE).is_file():
        # A stop between two renamings leaves the state of the round before.
        state = folder / f"{_STATE}.old"
    if not (state / _NOTE).is_file():
        return Progress(Order(1, dict(first)))
    try:
        note = json.loads((state / _NOTE).read_text(encoding="utf-8"))
        memories = {site: load_file(state / f"site-{site}.safetensors") for site in note["sites"]}
        order = Order(
            note["next"], load_file(state / _MEAN), note["clips"], tuple(note["included"])
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{state}: damaged ({reason}); delete {folder} to start this rule again"
        ) from error
    rows = list(read_lines(folder / _LOG)) if (folder / _LOG).is_file() else []
    # The log may be ahead of the state; what is run again is logged again.
    return Progress(order, memories, rows[: note["rounds"]])
