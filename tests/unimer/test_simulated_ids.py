"""Names of simulated clips and people: the same name, the same content, whatever made it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_llm.corpora.synthetic import Written, write_corpus
from deft_llm.data.simulated import SimulatedData, even_specs, specs
from deft_llm.simulator.scene.clip_spec import ClipSpec

SETS: tuple[dict[str, Any], ...] = (
    {},
    {"seed": 3},
    {"seed": 20},
    {"identities": 4},
    {"first_identity": 7},
    {"head": "ict"},
    {"neutral_share": 0.9},
    {"balanced_share": 1.0},
    {"variants": 2, "turns": 1},
)


def drawn() -> Iterator[ClipSpec]:
    """Clips of sets that overlap in their seeds, people and everything else."""
    for change in SETS:
        data = SimulatedData(**{"clips": 12, "identities": 9, "seed": 0, **change})
        yield from specs(data)
        yield from even_specs(data)


def test_a_name_stands_for_one_clip_and_a_clip_has_one_name() -> None:
    names: dict[str, set[ClipSpec]] = {}
    for spec in drawn():
        names.setdefault(spec.annotation().clip, set()).add(spec)
    assert len(names) > 100  # the sets differ
    assert all(len(clips) == 1 for clips in names.values())


def test_a_subject_stands_for_one_face() -> None:
    faces = {(spec.subject, spec.head, spec.identity) for spec in drawn()}
    assert len({subject for subject, _, _ in faces}) == len(faces)


def pixels(spec: ClipSpec) -> np.ndarray:
    return np.zeros((spec.curve.frames, 2, 2, 3), np.uint8)


@pytest.mark.parametrize("name", ["casme2", "casme3", "samm_long_videos", "smic_hs", "dfme"])
def test_corpora_of_different_seeds_share_names_with_their_content_alone(
    name: str, tmp_path: Path
) -> None:
    """Half of the people of one are in the other, with the clips that they have there."""
    written: list[Written] = []
    for seed in (0, 2, 500):
        written += write_corpus(
            name, tmp_path / str(seed), subjects=4, clips=4, seed=seed, renderer=pixels
        )
    for kind in ("clip", "subject"):
        content: dict[str, set[Any]] = {}
        for clip in written:
            what = clip.spec if kind == "clip" else clip.spec.identity
            content.setdefault(getattr(clip.annotation, kind), set()).add(what)
        assert len(content) == (10 * 4 if kind == "clip" else 10)
        assert all(len(found) == 1 for found in content.values())


def test_faces_of_simulated_corpora_are_nobody_elses(tmp_path: Path) -> None:
    written = write_corpus("casme2", tmp_path, subjects=2, clips=2, renderer=pixels)
    faces = {clip.spec.identity for clip in written}
    others = SimulatedData(clips=1, identities=300)
    first = others.first_identity
    assert not faces.intersection(range(first, first + others.identities))
