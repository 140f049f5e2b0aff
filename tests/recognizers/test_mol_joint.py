"""MOL's joint training as a benchmark's row: which clips a batch has, and what hidden labels do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.inputs import mirror_inputs
from deft_llm.data.raw_frames import RAW_SIDE
from deft_llm.errors import UserError
from deft_llm.recognizers.mol_examples import known_share, mirrored_points
from deft_llm.recognizers.mol_joint import MolJoint, drawn
from deft_llm.recognizers.mol_losses import NO_CLASS
from tests.recognizers.test_mol_task import examples

SHORT: dict[str, Any] = {"steps": 1, "batch_size": 2, "labelled": 0.5, "flow_target": "dis"}
LABELS = np.arange(6) % 2


@pytest.fixture(scope="module")
def inputs() -> dict[str, NDArray[np.float32]]:
    return examples(6).clips.inputs(MolJoint.inputs)


def fitted(inputs: dict[str, Any], labels: NDArray[np.int64], **options: Any) -> MolJoint:
    made = MolJoint(2, SHORT, **options)
    made.fit(inputs, labels)
    return made


def test_classes_are_drawn_alike_and_unlabelled_clips_come_along() -> None:
    labels = np.array([0] * 40 + [1] * 4 + [NO_CLASS] * 20)
    rng = np.random.default_rng(0)
    rows = drawn(labels, 400, True, rng).numpy()
    assert (labels[rows[400:]] == NO_CLASS).all() and len(rows) == 800
    assert np.bincount(labels[rows[:400]])[1] == pytest.approx(200, abs=40)
    assert (labels[drawn(labels, 50, False, rng).numpy()] != NO_CLASS).all()


@pytest.mark.parametrize("heads", [True, False])
def test_hidden_labels_change_nothing(inputs: dict[str, Any], heads: bool) -> None:
    hidden = ~known_share(6, SHORT["labelled"], 0).numpy()
    assert hidden.sum() == 3
    first = fitted(inputs, LABELS, flow=heads, landmarks=heads)
    other = fitted(inputs, np.where(hidden, 1 - LABELS, LABELS), flow=heads, landmarks=heads)
    found = first.predict_proba(inputs)
    np.testing.assert_array_equal(found, other.predict_proba(inputs))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    # Another seed hides other labels and begins elsewhere.
    assert not np.array_equal(found, MolJoint(2, SHORT, seed=1).predict_proba(inputs))


def test_a_second_call_begins_anew(inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def moves(self: MolJoint, *_: Any) -> torch.Tensor:
        return sum((x.square().sum() for x in self.network.parameters()), torch.zeros(()))

    monkeypatch.setattr(MolJoint, "_loss", moves)  # what is learned does not matter here
    made, ends = MolJoint(2, SHORT, flow=False, landmarks=False), []
    begun = next(made.network.parameters()).detach().clone()
    for _ in range(2):
        made.fit(inputs, LABELS)
        ends.append(next(made.network.parameters()).detach().clone())
    assert not torch.equal(begun, ends[0])
    assert torch.equal(ends[0], ends[1])


def test_the_order_of_sub_clips_does_not_matter(inputs: dict[str, Any]) -> None:
    made = MolJoint(2, flow=False, landmarks=False)
    turned = {**inputs, "sub_clips": inputs["sub_clips"][:, ::-1].copy()}
    np.testing.assert_allclose(made.predict_proba(inputs), made.predict_proba(turned), atol=1e-6)


def test_landmarks_of_the_mirrored_clip() -> None:
    clips: ClipDataset = examples(2).clips
    shares = torch.from_numpy(clips.inputs(("landmarks",))["landmarks"])
    pixels = torch.from_numpy(clips.stack("landmarks"))
    mirrored = RAW_SIDE * mirror_inputs({"landmarks": shares})["landmarks"] - 0.5
    torch.testing.assert_close(mirrored, mirrored_points(pixels), atol=1e-4, rtol=0)


def test_a_misspelt_setting_is_named() -> None:
    with pytest.raises(UserError, match="mol_joint: training: unknown key 'step'"):
        MolJoint(2, {"step": 3})
