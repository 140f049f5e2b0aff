"""A data folder for the tests of training.

Rendering is replaced by random features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from deft_llm import facs
from deft_llm.clip import Evidence
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.features import Features
from deft_llm.data.records import ClipRecord
from deft_llm.data.simulated import SimulatedData
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.unimer import simulated
from deft_llm.unimer.answer_writer import Templates
from deft_llm.unimer.simulated import build_simulated

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "deft_llm" / "unimer" / "templates"


def _observed(spec: ClipSpec, features: Features) -> MeasuredClip:
    """What a clip's measurement could be: the AUs' motion as the table has it, noise for maps."""
    moved = {
        region: (directions[0], code)
        for code in spec.aus
        for region, directions in facs.expected_directions(code).items()
        if directions
    }
    evidence = tuple(
        Evidence(region, moved[region][0], 0.6, 8.0, (moved[region][1],))
        for region in facs.REGIONS
        if region in moved
    )
    record = ClipRecord(
        clip=spec.name,
        subject=spec.subject,
        emotion=spec.emotion,
        emotion_known=spec.emotion is not None or not spec.aus,
        aus=facs.sort_aus(spec.aus),
        evidence=evidence,
        shard="",
        row=0,
        content=str(spec.seed),
        spec=spec.to_json(),
    )
    return MeasuredClip(record, features)


Rendering = Callable[..., Iterator[MeasuredClip]]


@pytest.fixture(scope="session")
def no_rendering(make_features: Callable[[int], Features]) -> Rendering:
    """Stands in for ``render_many``."""

    def observe(specs: Iterable[ClipSpec], *_: object) -> Iterator[MeasuredClip]:
        return (_observed(spec, make_features(spec.seed % 2**32)) for spec in specs)

    return observe


@pytest.fixture(scope="session")
def drawn() -> SimulatedData:
    """What the data folder holds."""
    return SimulatedData(clips=10, identities=4, seed=5_000_000, variants=2, turns=2, workers=1)


@pytest.fixture(scope="session")
def data(
    tmp_path_factory: pytest.TempPathFactory, no_rendering: Rendering, drawn: SimulatedData
) -> Path:
    """A data folder, built by the real code on random features."""
    folder = tmp_path_factory.mktemp("data") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "render_many", no_rendering)
        build_simulated(drawn, folder, Templates(TEMPLATES))
    return folder
