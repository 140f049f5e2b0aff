"""Training FED-PsyAU: the loss, the prior of each fold, and the recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deft_llm import facs
from deft_llm.clip import Annotation
from deft_llm.data.clip_dataset import ClipDataset, MeasuredClip
from deft_llm.data.features import Features
from deft_llm.data.labelled import LabelledClips, labelled, three_class
from deft_llm.data.records import ClipRecord
from deft_llm.recognizers.dpk_gat import UPPER, UPPER_EDGES, cooccurrence, over_edges
from deft_llm.recognizers.psyau import PsyAU
from deft_llm.recognizers.psyau_joint import PsyAUJoint
from deft_llm.recognizers.psyau_task import PsyAUTask, joint_losses
from deft_llm.recognizers.saved import open_saved
from deft_llm.training.loop import fit
from deft_llm.training.schedule import Schedule
from deft_llm.training.tasks import run
from tests.recognizers.conftest import write_folder

CODED = (("happiness", ("6", "12")), ("disgust", ("4", "9")), ("surprise", ("1", "2", "5")))
SHORT: dict[str, Any] = {"epochs": 1, "batch_size": 4}


@pytest.fixture(scope="module")
def clips(make_features: Callable[[int], Features]) -> LabelledClips:
    found = []
    for i in range(9):
        emotion, aus = CODED[i % 3]
        coding = Annotation("x", f"s{i}", f"c{i}", emotion=emotion, aus=aus)
        found.append(MeasuredClip(ClipRecord.of(coding), make_features(i)))
    return labelled(ClipDataset.of_clips(found), facs.THREE_CLASSES, three_class)


def task(clips: LabelledClips, **options: Any) -> PsyAUTask:
    torch.manual_seed(0)
    return PsyAUTask(PsyAU(3), clips, 4, **{"batches": 10, **options})


def test_the_prior_is_that_of_the_training_clips(clips: LabelledClips) -> None:
    rows = np.array([0, 3, 6])  # happiness alone
    part = clips.subset(rows)
    aus = torch.from_numpy(part.clips.inputs(("aus",))["aus"])
    wanted = over_edges(cooccurrence(aus)[UPPER, UPPER], UPPER_EDGES)
    torch.testing.assert_close(task(part).psyau.upper.prior, wanted)
    assert not torch.equal(task(clips).psyau.upper.prior, wanted)


def test_the_share_is_that_of_the_step(clips: LabelledClips) -> None:
    made = task(clips)
    for index in (7, 2):  # any order: a resumed run begins anywhere
        made.training_step(made.batch(index))
        assert float(made.psyau.prior_share) == pytest.approx(1 - index / 10)


@pytest.mark.parametrize(("steps", "accumulate"), [(1, 1), (3, 1), (2, 3)])
def test_the_share_falls_to_0_in_any_training(
    clips: LabelledClips, steps: int, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, seen = task(clips, batches=steps * accumulate), []
    real = made.psyau.progress

    def noted(done: float) -> None:
        seen.append(done)
        real(done)

    monkeypatch.setattr(made.psyau, "progress", noted)
    fit(made, Schedule(steps=steps, accumulate=accumulate), None, cpu=True)
    count = steps * accumulate
    assert seen == pytest.approx([k / count for k in range(count + 1)])
    assert float(made.psyau.prior_share) == 0


def test_clips_without_coded_aus_teach_the_classes_alone(clips: LabelledClips) -> None:
    made = task(clips)
    batch = {**made.batch(0), "aus": torch.full((4, 12), torch.nan)}
    found = made.psyau.eval()(batch, whole=True)
    losses = joint_losses(found, batch, 0.8)
    assert losses["au"].item() == 0
    torch.testing.assert_close(losses["loss"].detach(), 0.2 * losses["classes"].detach())
    assert joint_losses(found, made.batch(0), 0.8)["au"].item() > 0


class _Wrapped(torch.nn.Module):
    """As several processes wrap a network; gradients are exchanged if it is called."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module, self.calls = module, 0

    def forward(self, *given: Any, **more: Any) -> Any:
        self.calls += 1
        return self.module(*given, **more)


def test_several_processes_learn_together_and_are_at_one_share(
    clips: LabelledClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = task(clips)
    wrapped = _Wrapped(made.model)
    made.model = wrapped
    made.training_step(made.batch(0))
    assert wrapped.calls == 1, "each would learn from its own clips alone"
    monkeypatch.setenv("WORLD_SIZE", "2")
    # Batches 12 and 13 of 20 are the seventh of both.
    shares = [float(made.batch(index)["done"]) for index in (0, 1, 12, 13, 19)]
    assert shares == pytest.approx([0, 0, 0.6, 0.6, 0.9])
    made.training_step(made.batch(18))
    assert made.over


def test_folds_do_not_know_each_other(clips: LabelledClips) -> None:
    # In the public code the prior is without a share from the second fold on.
    inputs = clips.clips.inputs(PsyAUJoint.inputs, PsyAUJoint.side)
    first, rest = np.arange(6), np.arange(3, 9)
    used, fresh = PsyAUJoint(3, SHORT), PsyAUJoint(3, SHORT)
    used.fit({n: x[first] for n, x in inputs.items()}, clips.labels[first])
    assert float(used.network.prior_share) == 0
    for model in (used, fresh):
        model.fit({n: x[rest] for n, x in inputs.items()}, clips.labels[rest])
    found = used.predict_proba(inputs)
    np.testing.assert_array_equal(found, fresh.predict_proba(inputs))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    # What the test clips are coded as is not looked at.
    hidden = {**inputs, "aus": np.full_like(inputs["aus"], np.nan)}
    np.testing.assert_array_equal(found, used.predict_proba(hidden))


def test_it_learns_from_motion(clips: LabelledClips) -> None:
    strong = []
    for i, clip in enumerate(clips.clips):
        assert clip.features is not None
        flow = np.zeros_like(clip.features["flow"])
        flow[:, 1, 12 * (i % 3) + 8 : 12 * (i % 3) + 16, 20:36] = -1
        strong.append(replace(clip, features={**clip.features, "flow": flow}))
    data = labelled(ClipDataset.of_clips(strong), facs.THREE_CLASSES, three_class)
    model = PsyAUJoint(3, {"epochs": 20, "batch_size": 9, "au_weight": 0.5})
    inputs = data.clips.inputs(model.inputs, model.side)
    model.fit(inputs, data.labels)
    assert (model.predict_proba(inputs).argmax(1) == data.labels).all()


def test_a_recipe_trains_it(tmp_path: Path, make_features: Callable[[int], Features]) -> None:
    folders = [write_folder(tmp_path / name, make_features, name) for name in ("a", "b")]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"task: psyau\noutput: {tmp_path / 'run'}\ndata: {folders[0]}\ntest: {folders[1]}\n"
        "batch_size: 4\nschedule: {steps: 2}\n"
    )
    run(recipe)
    final = tmp_path / "run" / "final"
    assert set(json.loads((final / "scores.json").read_text())) == {"uf1", "uar", "accuracy"}
    saved = open_saved(tmp_path / "run")
    assert isinstance(saved.network, PsyAU) and saved.config.name == "psyau"
    assert float(saved.network.prior_share) == 0, "the prior is gone at the end, as in a fold"
