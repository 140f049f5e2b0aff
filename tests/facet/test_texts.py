"""Texts: what the offline tower understands, and the user's prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.facet.au_text import AuTextTower, au_phrase, aus_in
from deft_llm.facet.texts import STYLES, class_vectors, default_prompts, read_prompts
from deft_llm.simulator.scan_sets import FIVE, HELD_OUT, SEEN, SIX


@pytest.mark.parametrize(
    ("text", "aus"),
    [
        ("a happy face", (6, 12, 25)),
        ("AU6+12", (6, 12)),
        ("AU 4 and AU 15", (4, 15)),
        ("4+12", (4, 12)),
        ("4 + 12 + 25", (4, 12, 25)),
        ("AU6 + 12", (6, 12)),
        ("AU 6, 12 and 25", (6, 12, 25)),
        ("AUs 1, 2, and 5", (1, 2, 5)),
        ("AU1/2/5", (1, 2, 5)),
        ("AU1+AU2 & AU5", (1, 2, 5)),
        ("AU1 2 5", (1, 2, 5)),
        ("AU6-12", (6, 12)),
        ("action units 6 and 12", (6, 12)),
        ("AU6B+12C", (6, 12)),  # with intensities
        ("L12+R4", (4, 12)),  # with sides
        ("AUL14", (14,)),
        ("4+12, 25 or AU26", (4, 12, 25, 26)),
        ("smile+4", (4, 12)),
        ("a 2+ year old who smiles", (12,)),
        ("4+12 with a wrinkled nose", (4, 9, 12)),
        ("a smile, 3 of 5", (12,)),  # no plus and no "AU": no codes
        ("a smile with raised brows", (1, 2, 12)),
        ("a happy face with wrinkled nose", (9,)),  # movements count before words
        ("inner brow raiser, lip corner depressor", (1, 15)),
        ("mouth open and wide eyes", (5, 25, 26)),
        ("lip corners pulled down", (15,)),
        ("a neutral face", ()),
        ("a table", None),
    ],
)
def test_movements_in_a_text(text: str, aus: tuple[int, ...] | None) -> None:
    assert aus_in(text) == aus


def test_phrases_are_understood() -> None:
    for aus in ((1, 2, 5, 26), (9, 10, 17), (20, 25)):
        assert aus_in(au_phrase(aus)) == aus


def test_likeness_of_texts_is_that_of_movements() -> None:
    tower = AuTextTower()
    smile, joy, frown, still = tower.encode(["AU6+12", "a happy face", "AU4+15", "neutral"])
    assert float(smile @ joy) > 0.7 > 0.2 > float(smile @ frown)
    assert float(still @ smile) == pytest.approx(0, abs=1e-6)
    lips, jaw, brow = tower.of_aus([(25,), (26,), (1,)])
    assert float(lips @ jaw) > float(lips @ brow)
    assert torch.allclose(tower.of_aus([(1, 4)]), tower.encode(["AU1+4"]))


def test_a_text_without_movements_is_refused() -> None:
    with pytest.raises(UserError, match="name action units"):
        AuTextTower().encode(["a table"])


@pytest.mark.parametrize("text", ["AU6+99", "6+99", "AU12, 99 and a smile"])
def test_a_unit_that_is_none_is_not_passed_over(text: str) -> None:
    with pytest.raises(UserError, match="AU99"):
        AuTextTower().encode(["a smile", text])


def test_an_ensemble_is_a_mean() -> None:
    tower = AuTextTower()
    one = class_vectors({"joy": ["AU6+12", "AU12"]}, tower)[0]
    mean = tower.encode(["AU6+12", "AU12"]).mean(dim=0)
    assert torch.allclose(one, mean / mean.norm())
    assert list(default_prompts(["4+12"])["4+12"]) == [au_phrase((4, 12))]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("classes", [SIX, FIVE, SEEN, HELD_OUT])
def test_every_class_that_is_trained_has_texts_that_differ(
    style: str, classes: tuple[str, ...]
) -> None:
    vectors = class_vectors(default_prompts(classes, style), AuTextTower())
    alike = (vectors @ vectors.T).fill_diagonal_(0)
    assert float(alike.max()) < 0.95


def test_prompts_of_a_user(tmp_path: Path) -> None:
    known = default_prompts(("anger", "happiness"))
    path = tmp_path / "mine.yaml"
    path.write_text("rename: {happiness: joy}\npouting: [a pout, AU18]\nanger: AU4+24\n")
    made = read_prompts(path, known)
    assert list(made) == ["anger", "joy", "pouting"]
    assert made["anger"] == ["AU4+24"] and made["joy"] == known["happiness"]
    path.write_text("only: [pouting]\npouting: a pout\n")
    assert read_prompts(path, known) == {"pouting": ["a pout"]}
    path.write_text("rename: {rage: anger}\n")
    with pytest.raises(UserError, match="no expression 'rage'"):
        read_prompts(path, known)
    path.write_text("rename: {happiness: anger, anger: happiness}\n")  # a swap loses nothing
    assert read_prompts(path, known)["anger"] == known["happiness"]
    for wrong, told in (
        ("pouting: 3", "expected a text"),
        ("only: []", "no expression is left; name some of anger, happiness"),
        ("ony: [anger]", "unknown key 'ony'; did you mean 'only'"),
    ):
        path.write_text(wrong + "\n")
        with pytest.raises(UserError, match=told):
            read_prompts(path, known)


@pytest.mark.parametrize(
    "line", ["rename: {happiness: anger}", "rename: {happiness: joy, anger: joy}"]
)
def test_a_rename_does_not_swallow_an_expression(tmp_path: Path, line: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(line)
    with pytest.raises(UserError, match=r"rename: .*(anger|joy).* two expressions"):
        read_prompts(path, default_prompts(("anger", "happiness", "fear")))
