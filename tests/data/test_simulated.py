"""A simulated set: who shows what, how often; what is measured stays measured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_llm.clip import Interval
from deft_llm.config import validate_settings
from deft_llm.data import clip_shards, simulated
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.features import Features
from deft_llm.data.simulated import (
    SimulatedData,
    even_specs,
    head_to_send,
    simulated_clips,
    specs,
)
from deft_llm.errors import UserError
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.unimer.answer_writer import Templates
from deft_llm.unimer.simulated import build_simulated


def drawn(**values: Any) -> list[tuple[str, ...]]:
    """AUs of 400 clips."""
    return [spec.aus for spec in specs(SimulatedData(clips=400, identities=10, seed=3, **values))]


def test_the_share_of_still_faces_leaves_the_others_as_they_are() -> None:
    usual, more = drawn(), drawn(neutral_share=0.3)
    assert np.mean([not aus for aus in usual]) == pytest.approx(0.1, abs=0.04)
    assert np.mean([not aus for aus in more]) == pytest.approx(0.3, abs=0.06)
    assert all(a == b for a, b in zip(usual, more, strict=True) if b)


def test_evenly_drawn_aus_are_never_still_and_make_rare_ones_frequent() -> None:
    usual, even = drawn(neutral_share=0.0), drawn(balanced_share=1.0, neutral_share=1.0)
    assert all(even)
    counts = [
        {au: sum(au in aus for aus in clips) for au in ("4", "26")} for clips in (usual, even)
    ]
    assert counts[1]["26"] > 2 * counts[0]["26"]
    assert counts[1]["4"] < counts[0]["4"]


def test_a_set_of_life_is_drawn_with_every_other_setting() -> None:
    held = SimulatedData(
        clips=80, identities=10, seed=3, profile="life", kinds=["held"], balanced_share=0.5
    )
    assert all("held" in spec.kinds for spec in specs(held) if spec.aus)
    turned = held.model_copy(update={"kinds": ["turn"], "neutral_share": 1.0, "head": "ict"})
    assert all(spec.turn is not None and spec.head == "ict" for spec in specs(turned))
    assert 20 < sum(not spec.aus for spec in specs(turned)) < 60
    assert all("turn" in spec.kinds for spec in even_specs(turned))
    assert 20 < sum(not spec.aus for spec in even_specs(turned)) < 60


def test_a_set_without_life_is_found_where_it_was_measured_before() -> None:
    """Measuring the pinned sets again takes an hour."""
    pinned = SimulatedData(clips=600, identities=80, first_identity=900000, seed=9000000)
    assert pinned.digest() == "f7eb933ca09f"
    live = pinned.model_copy(update={"profile": "life"})
    held = live.model_copy(update={"kinds": ["held"]})
    assert len({data.digest() for data in (pinned, live, held)}) == 3


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"profile": "lives"}, r"profile: .*expected one of benchmark, life, varied"),
        ({"kinds": ["held"]}, r'kinds: .*which has none; choose profile "life"'),
        ({"profile": "life", "kinds": ["turned"]}, r"kinds: .*'turned'.*did you mean 'turn'"),
    ],
)
def test_a_wrong_profile_or_kind_is_named(change: dict[str, Any], word: str) -> None:
    values = {"clips": 1, "identities": 1, **change}
    with pytest.raises(UserError, match=word):
        validate_settings(SimulatedData, values, "recipe")


# ------------------------------------------------------------------------------ the cache

PER_SHARD, COUNT, NO_FACE = 4, 10, 8
SET = SimulatedData(clips=COUNT, identities=3, seed=5, workers=1)


class Renderer:
    """Noise in place of rendering; ``asked`` are the clips that were rendered so far.

    Attributes:
        stop: Clip before which Ctrl-C is pressed.
        shift: Added to every motion, as by a change of the code.
    """

    def __init__(self, make_features: Callable[[int], Features]) -> None:
        self.make_features = make_features
        self.asked: list[int] = []
        self.stop = COUNT
        self.shift = 0.0

    def __call__(self, drawn: Iterable[ClipSpec], *_: object) -> Iterator[MeasuredClip]:
        for spec in drawn:
            index = spec.seed - SET.seed
            if index == self.stop:
                raise KeyboardInterrupt
            self.asked.append(index)
            motion = np.random.default_rng(spec.seed).normal(self.shift, 1, (20, 2))
            features = None if index == NO_FACE else self.make_features(spec.seed)
            made = MeasuredClip.simulated(spec, motion.astype(np.float32), features)
            # A still clip is measured at an interval that its coding lacks.
            yield replace(made, record=replace(made.record, interval=Interval(1, 2, 3)))


@pytest.fixture
def render(make_features: Callable[[int], Features], monkeypatch: pytest.MonkeyPatch) -> Renderer:
    monkeypatch.setattr(clip_shards, "CLIPS_PER_SHARD", PER_SHARD)
    renderer = Renderer(make_features)
    monkeypatch.setattr(simulated, "render_many", renderer)
    return renderer


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_interrupted_set_goes_on_and_is_the_same(
    render: Renderer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    straight = simulated_clips(SET, tmp_path / "straight")
    assert render.asked == list(range(COUNT))
    assert straight.found == tuple(i != NO_FACE for i in range(COUNT))
    render.asked, render.stop = [], PER_SHARD + 2
    with pytest.raises(KeyboardInterrupt):
        simulated_clips(SET, tmp_path / "stopped")
    render.asked, render.stop = [], COUNT
    with caplog.at_level(logging.INFO):
        simulated_clips(SET, tmp_path / "stopped")
    assert f"{PER_SHARD} of {COUNT} clips are there already" in caplog.text
    # The first clip tells whether the code is still the same.
    assert render.asked == [0, *range(PER_SHARD, COUNT)]
    assert files(tmp_path / "stopped") == files(tmp_path / "straight")


def test_measured_and_read_back_are_the_same(render: Renderer, tmp_path: Path) -> None:
    measured, again = (simulated_clips(SET, tmp_path) for _ in range(2))
    assert render.asked == [*range(COUNT), 0]
    assert measured.records == again.records
    for i, (a, b, spec) in enumerate(zip(measured, again, specs(SET), strict=True)):
        assert a.spec == b.spec == spec and a.record.interval == Interval(1, 2, 3)
        assert np.array_equal(a.motion, b.motion)
        assert (a.features is None) == (b.features is None) == (i == NO_FACE)
        if a.features is not None and b.features is not None:
            for name, wanted in render.make_features(spec.seed).items():
                assert np.array_equal(a.features[name], wanted)
                assert np.array_equal(b.features[name], wanted)


def test_shards_of_other_code_are_measured_again(render: Renderer, tmp_path: Path) -> None:
    """Also those that an interrupted run left."""
    render.stop = PER_SHARD + 2
    with pytest.raises(KeyboardInterrupt):
        simulated_clips(SET, tmp_path)
    render.asked, render.stop, render.shift = [], COUNT, 1.0
    clips = simulated_clips(SET, tmp_path)
    assert render.asked == [0, *range(COUNT)]
    assert all(clip.motion.mean() > 0.5 for clip in clips)


def test_a_shard_of_other_recipes_is_measured_again(render: Renderer, tmp_path: Path) -> None:
    """A change of the drawing that leaves the first clip as it is."""
    simulated_clips(SET, tmp_path)
    listing = next(tmp_path.rglob("clips-00001.jsonl"))
    name = list(specs(SET))[PER_SHARD].name
    listing.write_text(listing.read_text().replace(name, "simulated-0-0"))
    render.asked = []
    again = simulated_clips(SET, tmp_path)
    assert render.asked == [0, *range(PER_SHARD, 2 * PER_SHARD)]
    assert again.records[PER_SHARD].clip == name


def test_a_shard_whose_features_were_deleted_is_measured_again(
    render: Renderer, tmp_path: Path
) -> None:
    """As the message about a damaged file asks for."""
    simulated_clips(SET, tmp_path)
    whole = files(tmp_path)
    next(tmp_path.rglob("clips-00001.safetensors")).unlink()
    render.asked = []
    simulated_clips(SET, tmp_path)
    assert render.asked == [0, *range(PER_SHARD, 2 * PER_SHARD)]
    assert files(tmp_path) == whole


def test_a_head_that_needs_a_file_finds_the_one_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SimulatedData(clips=1, identities=1, seed=0, head="ict")
    monkeypatch.delenv("DEFT_DATA", raising=False)
    monkeypatch.setenv("DEFT_ICT", str(tmp_path / "not_there.safetensors"))
    with pytest.raises(UserError, match="not_there"):
        build_simulated(other, tmp_path / "data", Templates())
    assert head_to_send(other.model_copy(update={"head": "own"})) is None
