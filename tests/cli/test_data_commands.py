"""``deft-llm flow-score`` and ``instructions``: data that is made and judged in any folder."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.cli.instructions import build
from deft_llm.corpora import scan_layouts
from deft_llm.data.simulated import SimulatedData
from deft_llm.evaluation.flow.folder import score_folder
from deft_llm.motion.flow_files import write_flow

from .conftest import Result, Run


def figures(result: Result) -> dict[str, float]:
    """The ``name = value`` lines."""
    rows = (line.split(" = ") for line in result.out.splitlines() if " = " in line)
    return {name: float(value) for name, value in rows}


@pytest.fixture
def flow_folder(here: Path) -> Path:
    """Two pairs in SRFlow's layout: a texture, and itself 0.5 px further right."""
    root = here / "flow"
    for name in ("render", "flow", "mask"):
        (root / "test" / name / "s1").mkdir(parents=True)
    known = np.zeros((2, 60, 75), np.float32)
    known[0] = 0.5
    move = np.array([[1, 0, 0.5], [0, 1, 0]], np.float32)
    for number in (0, 2):
        noise = np.random.default_rng(number).normal(size=(60, 75)).astype(np.float32)
        texture = 128 + 300 * cv2.GaussianBlur(noise, (0, 0), 3)
        moved = cv2.warpAffine(texture, move, (75, 60), flags=cv2.INTER_CUBIC, borderMode=2)
        for frame, image in ((number, texture), (number + 1, moved)):
            grey = np.clip(np.rint(image), 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / "test" / "render" / "s1" / f"{frame:04d}.png"), grey)
        write_flow(root / "test" / "flow" / "s1" / f"{number:04d}.flo", known)
        mask = np.full((60, 75), 255, np.uint8)
        cv2.imwrite(str(root / "test" / "mask" / "s1" / f"{number:04d}.png"), mask)
    return root


def test_an_estimator_is_scored_on_a_folder_of_pairs(run: Run, flow_folder: Path) -> None:
    found = {m: run("flow-score", flow_folder, "--method", m, "--json", m) for m in ("lk", "dis")}
    for method, result in found.items():
        assert result.status == 0, result.err
        values = figures(result)
        assert values["pairs"] == 2 and values["zero_flow_epe"] == 0.5
        assert 0 < values["epe"] < 0.3
        assert math.isnan(values["epe_over_2px"])  # nothing moved so far
        assert 0 <= values["rate_5px"] <= values["rate_3px"] <= values["rate_1px"] <= 1
        rows = {row["name"]: row["value"] for row in json.loads(Path(method).read_text())}
        assert rows["epe"] == pytest.approx(values["epe"], rel=1e-3)
    assert figures(found["lk"])["epe"] != figures(found["dis"])["epe"]


class Exact:
    """An estimator that knows the answer."""

    name = "exact"

    def __call__(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
        return np.broadcast_to(np.array([[[0.5]], [[0.0]]], np.float32), (2, *a.shape[:2]))


def test_exact_flow_has_no_error(flow_folder: Path) -> None:
    scores = {f.name: f.value for f in score_folder(flow_folder, "test", Exact())}
    assert scores["epe"] == scores["epe_boundary"] == scores["rate_1px"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "no flow in split 'test'"),
        (("nowhere", "--method", "diss"), "did you mean 'dis'"),
        (("nowhere", "--weights", "nowhere"), "no such file"),
        (("nowhere", "--weights", "nowhere", "--method", "lk"), "of srflow, a trained network"),
    ],
)
def test_wrong_flow_input_gets_one_line(run: Run, arguments: tuple[str, ...], words: str) -> None:
    result = run("flow-score", *arguments)
    assert (result.status, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1 and words in result.err


def test_instructions_are_built_checked_and_compared(run: Run, here: Path) -> None:
    counts = ("--simulated", "1", "--identities", "1", "--variants", "2", "--workers", "1")
    result = run("instructions", "build", *counts, "one", "--seed", "7")
    assert result.status == 0, result.err
    assert "one: " in result.out and "conversations about 1 clips of 1 subjects" in result.out
    assert run("instructions", "validate", "one").out == "one: no problems\n"
    leak = run("instructions", "audit", "one", "one")
    assert leak.status == 1 and "shared clips: 1, for example" in leak.out

    other = here / "two"
    other.mkdir()
    row = json.loads((here / "one" / "clips.jsonl").read_text(encoding="utf-8"))
    row |= {name: f"another {name}" for name in ("subject", "clip", "content")}
    (other / "clips.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    apart = run("instructions", "audit", "one", "two")
    assert apart.status == 0
    assert apart.out == "shared subjects: 0\nshared clips: 0\nshared contents: 0\n"

    (here / "one" / "train.jsonl").write_text('{"conversations": []}\n', encoding="utf-8")
    found = run("instructions", "validate", "one", "--most", "1")
    assert (
        found.status == 2
        and "train.jsonl" in found.out
        and "there are more problems; --most 2" in found.out
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("build", "out"), "nothing to build from"),
        (("build", "out", "--simulated", "2", "--shard", "3/2"), "shard '3/2'"),
        (("build", "out", "--simulated", "2", "--neutral-share", "2"), "neutral_share"),
        (("build", "out", "--simulated", "2", "--templates", "nowhere"), "questions.yaml"),
        (("build", "out", "--corpora", "a.jsonl", "b.jsonl", "--workers", "1"), "a.jsonl"),
        (("validate", "nowhere"), "nowhere"),
        (("audit", "nowhere", "nowhere"), "build the data first"),
    ],
)
def test_wrong_instruction_input_gets_one_line(
    run: Run, arguments: tuple[str, ...], words: str
) -> None:
    result = run("instructions", *arguments)
    assert (result.status, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1 and words in result.err


def test_several_listings_follow_one_option(
    run: Run, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    seen: list[Path] = []

    def measure(path: Path, *_: object) -> list[str]:
        seen.append(path)
        return [path.stem]

    monkeypatch.setattr("deft_llm.data.prepared.open_prepared", lambda path: path)
    monkeypatch.setattr("deft_llm.data.prepared.left_out", lambda path: [])
    monkeypatch.setattr("deft_llm.unimer.coded.measure_corpus", measure)
    result = run("instructions", "build", "out", "--corpora", "a.jsonl", "b.jsonl", "--seed", "3")
    assert result.status == 0, result.err
    assert seen == [Path("a.jsonl"), Path("b.jsonl")]
    assert "2 of 2 parts belong to other shards" in result.out


def test_the_options_are_those_of_the_settings() -> None:
    """A default that the settings change must not stay behind on the command line."""
    options = inspect.signature(build).parameters
    for name in ("head", "balanced_share", "neutral_share", "seed", "variants", "turns", "workers"):
        assert options[name].default == SimulatedData.model_fields[name].default, name


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-o", "a.png"), "would replace the input a.png"),
        (("-o", "b.flo"), "would replace the input b.colour.png"),
        (("-o", "c.flo", "--scale", "0"), "--scale 0: expected px above 0"),
    ],
)
def test_flow_replaces_no_input(run: Run, here: Path, options: tuple[str, ...], told: str) -> None:
    for name in ("a.png", "b.colour.png"):
        cv2.imwrite(str(here / name), np.full((40, 40, 3), 90, np.uint8))
    before = (here / "a.png").read_bytes()
    result = run("flow", "a.png", "b.colour.png", *options)
    assert result.status == 2 and told in result.err
    assert (here / "a.png").read_bytes() == before and not (here / "c.flo").exists()


def test_problems_that_are_not_printed_are_told(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--most 0`` said that there are none, and ended with status 0."""
    monkeypatch.setattr(
        "deft_llm.unimer.validate.validate_folder", lambda folder: iter("abcde"[: int(folder.name)])
    )
    assert run("instructions", "validate", "5", "--most", "0").status == 2
    for most, last in (
        ("2", "there are more problems; --most 4 prints more of them"),
        ("5", "5 problems"),
    ):
        result = run("instructions", "validate", "5", "--most", most)
        assert result.status == 2
        assert result.out.splitlines() == [*"abcde"[: int(most)], f"5: {last}"]
    assert run("instructions", "validate", "1").out.endswith("1: 1 problem\n")


@pytest.mark.parametrize(
    "command",
    [
        ("simulate", "eyes", "x"),
        ("simulate", "flow", "x"),
        ("simulate", "scans", "x"),
        ("instructions", "build", "x", "--simulated", "1"),
        ("corpora", "simulate", "x", "--name", "casme2"),
    ],
)
def test_a_negative_seed_is_refused(run: Run, here: Path, command: tuple[str, ...]) -> None:
    result = run(*command, "--seed", "-1")
    assert result.status == 2 and "-1 is not in the range" in result.err
    assert not (here / "x").exists()


def test_a_stop_of_simulated_scans_says_what_is_kept(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scan_layouts, "parallel_map", stop)
    result = run("simulate", "scans", "try", "--subjects", "2")
    assert (result.status, result.err) == (
        130,
        "deft-llm: stopped; nothing is kept; the same command begins anew\n",
    )
    assert not (here / "try").exists()


def test_a_report_needs_the_name_of_a_file(run: Run, here: Path) -> None:
    """As elsewhere "-" is standard output, where the text of the command already goes."""
    result = run("corpora", "check", ".", "--name", "casme2", "--json", "-")
    assert result.status == 2 and "standard output" in result.err and not (here / "-").exists()
