"""Load the published weights of ME-TST, ME-TST+ and BoostingVRME.

The official files are pickles, one for each subject that was left out; ``docs/own_video.md`` says
how they are converted without running code of whoever wrote them.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from deft_llm.errors import UserError
from deft_llm.spotters.base import Spotter
from deft_llm.spotters.boosting_vrme import BoostingVrme

_RENAMED = (
    # First, since the others look at how the rest of a name starts.
    ("module.", ""),  # of a network that was trained on several GPUs
    # The first code of ME-TST, width 64.
    ("blocks_spot.", "spot_pathway.block."),
    ("blocks_recog.", "recog_pathway.block."),
    # Heads of that code, and of BoostingVRME.
    ("fc_spot.0.", "fc_spot."),
    ("fc_recog.0.", "fc_recog."),
)
# BoostingVRME keeps the trunk's layers at the top, ME-TST+ keeps them under its pathways.
_TRUNK = ("Stem_slow.", "block1", "block2", "block3", "fuse_")


def load_published(network: Spotter, weights: Path) -> None:
    """Load a published state dict into a network of its sizes; every weight must have its place.

    Args:
        network: A spotter of the same paper.
        weights: The state dict as safetensors.

    Raises:
        UserError: If the file is missing or unreadable, or does not fit the network.
    """
    if not weights.is_file():
        raise UserError(f"{weights}: no such file; expected a state dict as safetensors")
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{weights}: not a safetensors file ({error}); convert official files first, as "
            "docs/own_video.md says under long videos"
        ) from error
    flat = isinstance(network, BoostingVrme)
    try:
        network.load_state_dict({_own_name(name, flat): v for name, v in state.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]  # torch lists every key, on many lines
        sizes = network.config.model_dump_json()
        raise UserError(f"{weights}: does not fit a network of {sizes} ({reason})") from error


def _own_name(name: str, flat: bool) -> str:
    """What a published parameter is called here."""
    for theirs, ours in _RENAMED:
        if name.startswith(theirs):
            name = ours + name.removeprefix(theirs)
    return f"trunk.{name}" if flat and name.startswith(_TRUNK) else name
