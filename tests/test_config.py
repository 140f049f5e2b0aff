"""A configuration file says what is wrong with it in one line."""

from __future__ import annotations

import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from deft_llm.config import Settings, apply_overrides, load, read_yaml, validate_settings
from deft_llm.errors import UserError

SMALL = Path(__file__).resolve().parents[1] / "train_configs" / "deft" / "small.yaml"


class Optim(Settings):
    learning_rate: float
    steps: int = 10


class Recipe(Settings):
    optim: Optim
    output: Path = Path("runs")
    bf16: bool = True


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("number", ["1e-4", "1.0e-4", "0.0001", "'1e-4'"])
def test_every_spelling_of_a_number_is_a_float(tmp_path: Path, number: str) -> None:
    """PyYAML reads 1e-4 as a string; a learning rate that is a string fails hours later."""
    recipe = load(Recipe, write(tmp_path, f"optim:\n  learning_rate: {number}\n"))
    assert recipe.optim.learning_rate == 1e-4
    assert isinstance(recipe.optim.learning_rate, float)


def test_overrides_win_are_cast_and_may_open_groups(tmp_path: Path) -> None:
    path = write(tmp_path, "bf16: true\n")
    overrides = ["optim.learning_rate=3e-4", "optim.steps=7", "bf16=false", "output=a=b/c"]
    recipe = load(Recipe, path, overrides)
    assert recipe.optim == Optim(learning_rate=3e-4, steps=7)
    assert recipe.bf16 is False
    assert recipe.output == Path("a=b/c")


def test_the_last_override_of_a_key_wins() -> None:
    assert apply_overrides({}, ["a.b=1", "a.b=2"]) == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"optim": {"learning_rte": 1}}, ["'optim.learning_rte'", "did you mean 'learning_rate'"]),
        ({"optim": {"learning_rate": 1}, "ouput": "x"}, ["'ouput'", "did you mean 'output'"]),
        ({"optim": {"learning_rate": 1}, "zzz": 1}, ["'zzz'", "expected one of", "bf16"]),
        ({"optim": {"learning_rate": "fast"}}, ["optim.learning_rate", "'fast'"]),
        ({"optim": {"learning_rate": 1, "steps": 1.5}}, ["optim.steps", "1.5"]),
        ({}, ["optim", "required"]),
        ({"optim": "adam"}, ["optim: expected a group of settings", "got 'adam'"]),
        ({"optim": {"learning_rate": 1}, "output": None}, ["output: expected a path, got None"]),
    ],
)
def test_a_wrong_setting_is_one_line_with_its_key(values: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        validate_settings(Recipe, values, "recipe.yaml")
    message = str(caught.value)
    assert message.startswith("recipe.yaml: ")
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "just words\n", "", "a: [1\nb: 2\n", "a:\n\t- b\n", "a: 2024-13-45"]
)
def test_a_file_that_is_no_mapping_is_one_line(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_in_another_encoding_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes("name: Übung".encode("latin-1"))
    with pytest.raises(UserError, match="not readable as YAML"):
        read_yaml(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UserError, match="no such file"):
            read_yaml(path)


@pytest.mark.parametrize(
    "override", ["optim.steps", "output.x=1", "optim.steps=[1", "output=2024-13-45"]
)
def test_a_wrong_override_is_one_line(override: str) -> None:
    with pytest.raises(UserError) as caught:
        apply_overrides({"output": "runs", "optim": {}}, [override])
    assert repr(override) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{width:8}", "{net: {width:8}}", "[{width:8}]"])
def test_a_colon_without_its_space_is_told(text: str) -> None:
    """YAML reads {width:8} as a key "width:8" without a value."""
    with pytest.raises(UserError, match=r"'width:8' .* put a space after the colon"):
        apply_overrides({}, [f"options={text}"])
    assert apply_overrides({}, ["options={url: 'a:b', none: }"])["options"]["none"] is None


class Set(Settings):
    clips: int
    noise: float = 0.0


class Plan(Settings):
    data: list[Set]
    grid: list[list[Set]] = []


def test_a_number_sets_one_item_of_a_list() -> None:
    before = read_yaml(SMALL)
    after = apply_overrides(deepcopy(before), ["data.0.clips=500", "data.2.head=own"])
    expected = deepcopy(before)
    expected["data"][0]["clips"] = 500
    expected["data"][2]["head"] = "own"
    assert after == expected


def test_a_name_is_set_in_every_item_of_a_list_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    values = apply_overrides(read_yaml(SMALL), ["data.clips=500"])
    assert [item.pop("clips") for item in values["data"]] == [500] * 4
    rest = read_yaml(SMALL)
    for item in rest["data"]:
        del item["clips"]
    assert values == rest
    assert caplog.messages == ["override data.clips=500: set in each of the 4 items of data"]


@pytest.mark.parametrize("overrides", [["data.0.clips=500"], ["experts.steps=1"], ["data=[]"]])
def test_an_override_that_means_one_place_is_not_logged(
    overrides: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    apply_overrides(read_yaml(SMALL), overrides)
    apply_overrides({"data": [{"clips": 1}]}, ["data.clips=2"])
    assert not caplog.messages


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a.1.0.x=5", {"a": [[{"x": 1}], [{"x": 5}, {"x": 3}]], "b": ["u", "v"]}),
        ("a.1.x=5", {"a": [[{"x": 1}], [{"x": 5}, {"x": 5}]], "b": ["u", "v"]}),
        ("a.0.0.new.deep=5", {"a": [[{"x": 1, "new": {"deep": 5}}], [{"x": 2}, {"x": 3}]]}),
        ("a.0=[]", {"a": [[], [{"x": 2}, {"x": 3}]], "b": ["u", "v"]}),
        ("b.1=w", {"b": ["u", "w"]}),
        ("b=[w]", {"b": ["w"]}),
    ],
)
def test_lists_inside_lists_and_of_values(override: str, expected: dict[str, Any]) -> None:
    values = {"a": [[{"x": 1}], [{"x": 2}, {"x": 3}]], "b": ["u", "v"]}
    assert apply_overrides(values, [override]) == {**values, **expected}


def test_groups_beside_values_and_lists_inside_groups(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    values = {"a": [{"parts": [{"x": 1}, "odd", {}]}, 7, {"parts": {"x": 2}}, {}]}
    changed = apply_overrides(values, ["a.parts.x=5"])
    parts = [{"x": 5}, "odd", {"x": 5}]
    assert changed == {"a": [{"parts": parts}, 7, {"parts": {"x": 5}}, {"parts": {"x": 5}}]}
    (message,) = caplog.messages
    assert message.endswith("set in each of the 3 items of a, 2 items of a.0.parts")


def test_a_group_that_is_written_once_and_used_twice_is_changed_in_one_place() -> None:
    values = yaml.safe_load("data: [&set {clips: 1}, *set]")
    overrides = ["data.0.clips=2", "data.noise={a: 1}", "data.1.noise.a=3"]
    assert apply_overrides(values, overrides)["data"] == [
        {"clips": 2, "noise": {"a": 1}},
        {"clips": 1, "noise": {"a": 3}},
    ]


def test_values_in_a_list_are_cast_and_misspelt_keys_get_a_hint(tmp_path: Path) -> None:
    path = write(tmp_path, "data: [{clips: 5}, {clips: 6}]\ngrid: [[{clips: 1}]]\n")
    plan = load(Plan, path, ["data.1.noise=1e-4", "data.clips=7", "grid.0.0.noise=2e-3"])
    assert plan.data == [Set(clips=7), Set(clips=7, noise=1e-4)]
    assert plan.grid == [[Set(clips=1, noise=2e-3)]]
    for override in ("data.1.clps=3", "data.clps=3", "grid.0.clps=3", "dta.0.clips=3"):
        near = "'data'" if override.startswith("dta") else "'clips'"
        with pytest.raises(UserError, match=f"unknown key .*; did you mean {near}"):
            load(Plan, path, [override])


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("data.4.clips=1", "'data' has 4 items, counted from 0, and no item 4"),
        ("data.4={clips: 1}", "has 4 items"),
        ("data.-1.clips=1", "no item -1"),
        ("data.00.clips=1", "no item 00"),
        ("data.0.clips.x=1", "'data.0.clips' is a value, not a group"),
        ("data.clips.x=1", "'data.0.clips' is a value, not a group"),
        ("empty.0=1", "'empty' has 0 items"),
        ("empty.x=1", "'empty' is a list of 0 items, none of them a group"),
        ("one.1=c", "'one' has 1 item, counted"),
        ("one.x=1", "none of them a group"),
        ("one.0.x=1", "'one.0' is a value"),
    ],
)
def test_a_wrong_override_of_a_list_is_one_line(override: str, part: str) -> None:
    values = {**read_yaml(SMALL), "empty": [], "one": ["a"]}
    with pytest.raises(UserError) as caught:
        apply_overrides(values, [override])
    message = str(caught.value)
    assert message.startswith(f"override {override!r}: ") and part in message
    assert "\n" not in message
