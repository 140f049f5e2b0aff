"""Every recognizer of the registry stands in the table of a corpus, named by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deft_llm import resources
from deft_llm.data import prepared
from deft_llm.data.features import Features, pack
from deft_llm.data.prepared import MeasuringJob, PrepareSettings
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.motion.measure import Measurement
from deft_llm.recognizers.base import RECOGNIZERS

from .conftest import WriteCorpus
from .test_benchmark import changes

LIGHT = (
    *("logistic_flow", "logistic_dual", "svm_flow", "bi_woof", "off_apexnet", "ststnet"),
    *("psyau_joint", "deft_heads", "deft_heads_tuned"),
)
#: They need something that only the user has: weights, a model, one action unit to ask for.
NEEDY = {"prior_flow": "weights", "vlm": "model", "deft_aus": "au"}
SHORT = [
    "schedule={epochs: 1, batch_size: 4, learning_rate: 0.001, processes: 1}",
    "entries.ststnet.schedule={epochs: 1, batch_size: 8, processes: 1}",
    "entries.off_apexnet.schedule={epochs: 1, batch_size: 8, processes: 1}",
    "entries.fmanet.schedule={epochs: 1, batch_size: 8, processes: 1}",
    "entries.htnet.schedule={epochs: 1, batch_size: 8, processes: 1}",
    "entries.psyau_joint.options.training.epochs=1",
    "entries.psyau.options.training.epochs=1",
    "entries.mol_joint.options.training={steps: 2, batch_size: 4}",
    "entries.mol.options.training={steps: 2, batch_size: 4}",
    "entries.mpfnet.options.stages={triplets: 2, magnified: 2, episodes: 2}",
    "entries.mpfnet_staged.options.stages={triplets: 2, magnified: 2, episodes: 2}",
    "entries.deft_lora.options={steps: 2, batch_size: 3}",
    "entries.deft_clips_lora.options={steps: 2, batch_size: 3}",
]


@pytest.fixture
def packed(
    monkeypatch: pytest.MonkeyPatch, make_measurement: Callable[..., Measurement]
) -> list[str]:
    """Clips whose features are all packed, frames too; a brow rises by the number of the clip."""
    clips: list[str] = []

    def measure(job: MeasuringJob, settings: PrepareSettings) -> tuple[Features, tuple[str, ...]]:
        clips.append(job.entry.annotation.clip)
        features = pack(make_measurement(0.2 * len(clips)), settings.sizes())
        features["onset"] = np.roll(features["onset"], len(clips), axis=0)
        if "key_frames" in features:  # the frames of the fixture are all alike
            noise = np.random.default_rng(len(clips)).normal(0, 5, features["key_frames"].shape)
            features["key_frames"] = (features["key_frames"] + noise).astype(np.float16)
        return {k: np.ascontiguousarray(v) for k, v in features.items()}, ()

    monkeypatch.setattr(prepared, "_measure", measure)
    return clips


def table(tmp_path: Path, corpus: Path, checkpoint: Path, names: tuple[str, ...]) -> set[str]:
    """Run the models; those that have a row."""
    deft = [f"entries.{name}.options.checkpoint={checkpoint}" for name in names if "deft" in name]
    short = [line for line in SHORT if line.split(".")[1] in names or line.startswith("schedule")]
    options = [f"corpus={corpus}", f"models=[{','.join(names)}]", "schemes=[3]", "seeds=1"]
    _, text = run(resources.benchmark("casme2"), changes(tmp_path, *options, *short, *deft))
    assert "no row of" not in text, text
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    return {row["model"] for row in result["tables"][0]["rows"]}


def test_light_ones(
    tmp_path: Path, write: WriteCorpus, packed: list[str], tiny_checkpoint: Path
) -> None:
    corpus = write("casme2", subjects=3)
    assert table(tmp_path, corpus, tiny_checkpoint, LIGHT) == set(LIGHT)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in RECOGNIZERS if n not in (*LIGHT, *NEEDY)])
def test_any(
    tmp_path: Path, write: WriteCorpus, packed: list[str], tiny_checkpoint: Path, name: str
) -> None:
    corpus = write("casme2", subjects=3)
    assert table(tmp_path, corpus, tiny_checkpoint, (name,)) == {name}


@pytest.mark.parametrize("name", NEEDY)
def test_what_only_the_user_has_is_said(
    tmp_path: Path, write: WriteCorpus, packed: list[str], name: str
) -> None:
    options = [f"corpus={write('casme2')}", f"models=[{name}]", "schemes=[3]"]
    entry = f"entries.{name}={{recognizer: {name}}}"
    with pytest.raises(UserError, match=NEEDY[name]) as caught:
        run(resources.benchmark("casme2"), changes(tmp_path, *options, entry))
    assert "\n" not in str(caught.value)
