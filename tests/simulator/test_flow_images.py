from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from deft_llm import facs
from deft_llm.errors import UserError
from deft_llm.motion.encoding import medsqrt
from deft_llm.simulator.flow import image_sets
from deft_llm.simulator.flow.image_sets import SimulatedFlow, simulate_flow
from deft_llm.simulator.flow.images import AUS, FlowImageSettings, _activations, draw_images
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.scene.sets import ClipSet


@pytest.fixture(scope="module")
def drawn() -> SimulatedFlow:
    return simulate_flow(FlowImageSettings(images=60, per_identity=30, seed=3))


def test_shapes_and_classes(drawn: SimulatedFlow) -> None:
    assert drawn.images.shape == (60, 28, 28, 3)
    assert drawn.images.dtype == np.uint8
    assert np.bincount(drawn.labels).tolist() == [20, 20, 20]
    assert drawn.aus.shape == (60, len(AUS), 2)
    assert len(np.unique(drawn.identities)) == 2


def test_the_same_settings_the_same_images(drawn: SimulatedFlow) -> None:
    again = simulate_flow(FlowImageSettings(images=4, per_identity=30, seed=3))
    np.testing.assert_array_equal(again.images, drawn.images[:4])
    other = simulate_flow(FlowImageSettings(images=4, per_identity=30, seed=4))
    assert (other.images != again.images).any()


# ------------------------------------------------------------------------------ the cache

SMALL = FlowImageSettings(images=10, per_identity=3, seed=3)
Drawn = list[int]


@pytest.fixture
def drawn_rows(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Numbers of the images that were drawn, in shards of four; at number 99 Ctrl-C is pressed."""
    monkeypatch.setattr(image_sets, "IMAGES_PER_SHARD", 4)
    rows: Drawn = []
    draw = image_sets.draw_images

    def noted(settings: FlowImageSettings, head: Head, some: Iterable[int]) -> Iterator[Any]:
        def passed() -> Iterator[int]:
            for row in some:
                if len(rows) == 99:
                    raise KeyboardInterrupt
                rows.append(row)
                yield row

        return draw(settings, head, passed())

    monkeypatch.setattr(image_sets, "draw_images", noted)
    return rows


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.safetensors")}


def same(a: SimulatedFlow, b: SimulatedFlow) -> bool:
    return all(np.array_equal(x, vars(b)[name]) for name, x in vars(a).items())


def test_an_interrupted_draw_goes_on_and_is_the_same(drawn_rows: Drawn, tmp_path: Path) -> None:
    straight = simulate_flow(SMALL, tmp_path / "straight")
    assert same(straight, simulate_flow(SMALL))
    drawn_rows[:] = [-1] * (99 - 6)  # two images into the second shard
    with pytest.raises(KeyboardInterrupt):
        simulate_flow(SMALL, tmp_path / "stopped")
    drawn_rows.clear()
    assert same(simulate_flow(SMALL, tmp_path / "stopped"), straight)
    assert drawn_rows == [0, *range(4, 10)]  # the first one tells whether the code is the same
    assert len(files(tmp_path / "stopped")) == 3
    assert files(tmp_path / "stopped") == files(tmp_path / "straight")
    drawn_rows.clear()
    assert same(simulate_flow(SMALL, tmp_path / "stopped"), straight)
    assert drawn_rows == [0]


def test_what_other_code_drew_is_drawn_again(drawn_rows: Drawn, tmp_path: Path) -> None:
    straight = simulate_flow(SMALL, tmp_path)
    (first,) = tmp_path.rglob("0000000.safetensors")
    values = load_file(first)
    save_file({**values, "labels": values["labels"] + 1}, first)
    drawn_rows.clear()
    assert same(simulate_flow(SMALL, tmp_path), straight)
    assert drawn_rows == [0, *range(10)]


def test_a_head_with_another_content_is_another_draw(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its place does not count: the same head under another path is the same draw."""
    own = load_head("own")
    monkeypatch.setattr(image_sets, "load_head", lambda name, path: own)
    settings = [
        FlowImageSettings(images=1, head="ict", head_path=tmp_path / name) for name in "abc"
    ]
    for made, content in zip(settings, ("first", "second", "first"), strict=True):
        assert made.head_path is not None
        made.head_path.write_text(content)
        simulate_flow(made, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2
    # As a folder, a head counts by all of its files.
    for name, content in {"x": "1", "y": "2"}.items():
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(content)
        simulate_flow(settings[0].model_copy(update={"head_path": folder}), tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_faces_are_those_of_no_set_of_clips() -> None:
    """Their faces are the seeds from 1,000 on: a network trained on both must not know them."""
    first = ClipSet.model_fields["first_identity"].default
    with pytest.raises(ValidationError, match="reach into those of simulated clips"):
        FlowImageSettings(images=first + 1, per_identity=1)
    FlowImageSettings(images=first, per_identity=1)
    FlowImageSettings()
    settings = FlowImageSettings(images=first + 1, per_identity=1, seed=1)
    rows = (0, first)
    faces = [face for *_, face in draw_images(settings, load_head("own"), rows)]
    assert faces == [1_000_003 + row for row in rows]


# ----------------------------------------------------------------------------- the images


def test_labels_go_with_their_units(drawn: SimulatedFlow) -> None:
    # Real codings: smiles are mostly AU12, surprise mostly AU1 or 2, negative mostly AU4.
    shown = np.asarray(drawn.aus.any(2))

    def share(label: str, *units: int) -> float:
        rows = shown[drawn.labels == facs.THREE_CLASSES.index(label)]
        return float(rows[:, [AUS.index(u) for u in units]].any(1).mean())

    assert share("positive", 12) > 0.4
    assert share("surprise", 1, 2) > 0.6
    assert share("negative", 4) > 0.4


def test_a_raised_brow_is_seen_up_there_and_up() -> None:
    # Without disturbance, surprise's brows move upwards (v < 0) in the upper third.
    calm = FlowImageSettings(
        images=30, per_identity=30, blink=0, gaze=0, stray=0, turn=0, drift=0, noise=(1e-4, 2e-4)
    )
    made = simulate_flow(calm)
    raised = made.aus[:, [AUS.index(1), AUS.index(2)]].all((1, 2))
    brows = raised & ~made.aus[:, AUS.index(4)].any(1)
    assert brows.sum() >= 3
    v = medsqrt(made.images)[brows, 1]
    assert v[:, :9].mean() < v[:, 12:].mean() - 0.2


def test_one_sided_codes_move_one_side() -> None:
    rng = np.random.default_rng(0)
    acts = _activations(rng, ("L12", "4"), FlowImageSettings(stray=0), load_head("own").aus)
    assert set(acts) == {"L12", "L4", "R4"}
    assert all(0.02 < value < 1.5 for value in acts.values())


def test_an_unknown_head() -> None:
    with pytest.raises(UserError, match="unknown head 'mine'"):
        simulate_flow(FlowImageSettings(images=1, head="mine"))
