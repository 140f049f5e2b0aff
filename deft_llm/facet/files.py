"""A trained FACET-VLM on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.facet.configuration import FacetConfig
from deft_llm.facet.network import Facet
from deft_llm.facet.texts import TextTower, load_text_tower
from deft_llm.training.run_folder import FINAL
from deft_llm.weights import load_network

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the networks that come along."""
SCANS, SEQUENCES, MICRO = "scans", "sequences", "micro"
"""Their names: of 3D scans, of sequences, and of sequences with micro-expressions."""


def embedded_weights(kind: str) -> Path:
    """The folder of a network that comes along.

    Where there is none for sequences, it is that of scans, which reads one of their frames.

    Args:
        kind: ``SCANS``, ``SEQUENCES`` or ``MICRO``.

    Raises:
        UserError: If none comes along.
    """
    for name in (kind, SCANS) if kind == SEQUENCES else (kind,):
        if (WEIGHTS / name / "model.safetensors").is_file():
            return WEIGHTS / name
    raise UserError(
        f"no FACET-VLM for {kind} comes along; train one (deft-llm train facet/{kind}) and give "
        "the folder of the run with --weights"
    )


@dataclass(frozen=True)
class LoadedFacet:
    """A trained network with its text tower.

    Attributes:
        network: In evaluation mode.
        texts: Its text tower.
    """

    network: Facet
    texts: TextTower


def load_facet(run: Path) -> LoadedFacet:
    """Open a trained network.

    Args:
        run: Folder of a run of ``train.py``, or its ``final``.

    Raises:
        UserError: If a file is missing or damaged, or a CLIP model cannot be loaded.
    """
    folder = run / FINAL if (run / FINAL).is_dir() else run
    # load_network reads the configuration and builds; the tower comes out by this list.
    towers: list[TextTower] = []

    def build(config: FacetConfig) -> Facet:
        towers.append(load_text_tower(config.text))
        return Facet(config, towers[0].width)

    network = load_network(folder, FacetConfig, build, "FACET-VLM", "train.py")
    return LoadedFacet(network, towers[0])
