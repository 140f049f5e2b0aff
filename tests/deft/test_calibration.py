"""Temperatures: what is fitted, kept, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deft_llm.deft.inference.calibration import FILE, LABEL_SETS, Calibration, fit_calibration
from deft_llm.errors import UserError
from deft_llm.metrics.classification import expected_calibration_error


def drawn(clips: int, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-likelihoods that are ``temperature`` times too sure of labels drawn from them."""
    generator = torch.Generator().manual_seed(0)
    honest = torch.randn(clips, 3, generator=generator)
    labels = torch.multinomial(honest.softmax(-1), 1, generator=generator)[:, 0]
    return honest * temperature - 7.0, labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_spoilt_the_likelihoods_is_found(temperature: float) -> None:
    likelihoods, labels = drawn(20_000, temperature)
    noise = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(1))
    found, weight = fit_calibration(likelihoods, noise.log_softmax(-1), labels.tolist())
    assert found == pytest.approx(temperature, rel=0.05)
    assert weight / found < 0.02  # of a second opinion that says nothing
    fitted = Calibration({"three": found}).probabilities("three", likelihoods)
    plain = Calibration().probabilities("three", likelihoods)
    torch.testing.assert_close(plain, likelihoods.softmax(-1))
    assert torch.equal(fitted.argmax(1), plain.argmax(1))  # no ranking changes
    after = expected_calibration_error(fitted.numpy(), labels.numpy())
    assert after < 0.015
    if temperature != 1.0:
        assert after < expected_calibration_error(plain.numpy(), labels.numpy()) / 4


def test_two_opinions_count_by_what_they_know() -> None:
    """Labels drawn from the product of two opinions, one of them three times too sure."""
    generator = torch.Generator().manual_seed(2)
    one, two = torch.randn(2, 20_000, 3, generator=generator).log_softmax(-1)
    labels = torch.multinomial((one + 0.5 * two).softmax(-1), 1, generator=generator)[:, 0]
    temperature, weight = fit_calibration(3 * one, two, labels.tolist())
    assert temperature == pytest.approx(3.0, rel=0.1)
    assert weight / temperature == pytest.approx(0.5, rel=0.15)


def test_nothing_to_fit_on_is_said() -> None:
    with pytest.raises(UserError, match="no clip with one of the labels"):
        fit_calibration(torch.zeros(0, 3), torch.zeros(0, 3), [])


def test_kept_in_the_checkpoint_folder(tmp_path: Path) -> None:
    assert Calibration.load(tmp_path) == Calibration()
    kept = Calibration({"three": 2.5, "seven": 0.7}, {"subjects": 3}, {"three": 1.5})
    assert kept.save(tmp_path) == tmp_path / FILE
    assert Calibration.load(tmp_path) == kept
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "damaged"),
        ('{"temperatures": [1], "fitted_on": {}}', "damaged"),
        ('{"temperatures": {"three": "warm"}, "fitted_on": {}}', "damaged"),
        (json.dumps({"temperatures": {"three": 0.0}, "fitted_on": {}}), "positive number"),
        (json.dumps({"temperatures": {"five": 1.0}, "fitted_on": {}}), "coarse, three, seven"),
        (
            json.dumps({"temperatures": {}, "fitted_on": {}, "codings": {"three": -1.0}}),
            "of at least 0",
        ),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=word) as caught:
        Calibration.load(tmp_path)
    assert str(tmp_path / FILE) in str(caught.value)


def test_label_sets_are_of_the_size_they_are_called() -> None:
    assert {name: len(labels) for name, (_, labels) in LABEL_SETS.items()} == {
        "coarse": 5,
        "three": 3,
        "seven": 7,
    }
