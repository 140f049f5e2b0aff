"""``deft-llm train``, ``eval`` and ``calibrate``: names, options in any order, and how they end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from deft_llm import resources
from deft_llm.cli import launch
from deft_llm.evaluation import benchmark
from deft_llm.evaluation.explanation import calibrate
from deft_llm.metrics.figures import Figure
from deft_llm.stopping import Stopped
from deft_llm.training import tasks

from .conftest import Run

Calls = list[tuple[Path, list[str]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What the library is called with; nothing is trained or measured, and one bar is missed."""
    seen: Calls = []

    def note(result: Any) -> Any:
        def call(path: Path, overrides: Sequence[str] = ()) -> Any:
            seen.append((path, list(overrides)))
            return result

        return call

    figures = [Figure("uf1", 0.8, 0.85), Figure("parsed", 1.0, 0.99)]
    monkeypatch.setattr(tasks, "run", note(None))
    monkeypatch.setattr(benchmark, "run", note((figures, "| a table |")))
    monkeypatch.setattr(calibrate, "calibrate", note(([Figure("ece", 0.01)], Path("c.json"))))
    return seen


@pytest.mark.parametrize("form", ["train_configs/deft/smoke.yaml", "deft/smoke.yaml", "deft/smoke"])
def test_a_recipe_of_ours_is_trained_from_anywhere(run: Run, calls: Calls, form: str) -> None:
    result = run("train", form, "output=runs/x", "data.clips=8")
    assert (result.status, result.out) == (0, "")
    assert calls == [(resources.recipe("deft/smoke"), ["output=runs/x", "data.clips=8"])]


def test_the_dry_run_writes_nothing_and_options_come_in_any_order(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is measured differs from call to call.
    monkeypatch.setattr("deft_llm.deft.tuning.dry_run.measured_speed", lambda *_: 1e11)
    first = run("train", "--dry-run", "deft/tiny", "output=runs/x", "experts.steps=3")
    last = run("train", "deft/tiny", "output=runs/x", "--dry-run", "experts.steps=3")
    assert first.status == 0, first.err
    assert first.out == last.out and "experts          3 steps of 64" in first.out
    assert not list(here.iterdir())


def test_a_stopped_training_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks, "run", stop)
    result = run("train", "deft/smoke")
    assert (result.status, result.out) == (130, "")
    assert "the same command goes on from the last checkpoint" in result.err


def test_a_training_that_was_told_to_stop_ends_as_shells_expect(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(tasks, "run", stop)
    result = run("train", "deft/smoke")
    assert result.status == 143
    assert "the same command goes on from the last checkpoint" in result.err


def test_several_processes_are_started_from_anywhere(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(launch, "launch_command", lambda args: started.append(args))
    assert (
        run("train", "deft/smoke", "seed=1", "--accelerate", "zero2", "--processes", "4").status
        == 0
    )
    args: Any = started[0]
    assert args.config_file == str(resources.machine("zero2"))
    assert (args.num_processes, args.module, args.training_script) == (4, True, "deft_llm")
    assert args.training_script_args == ["train", str(resources.recipe("deft/smoke")), "seed=1"]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (SignalException("stop", signal.SIGTERM), 143),
        (SignalException("stop", signal.SIGINT), 130),
        (ChildFailedError("train", {0: ProcessFailure(0, 7, 2, "none")}), 2),
        (ChildFailedError("train", {0: ProcessFailure(0, 7, -9, "none")}), 137),
    ],
)
def test_several_processes_end_with_the_status_of_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int
) -> None:
    def fail(args: object) -> None:
        raise failure

    monkeypatch.setattr(launch, "launch_command", fail)
    result = run("train", "deft/smoke", "--accelerate", "many_gpus")
    assert (result.status, result.out) == (status, "")
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "deft/smoke", "--accelerate", "zero4"), "none of ours: cpu, many_gpus"),
        (("train", "deft/smoke", "--accelerate", "cpu"), "one process, which needs no launcher"),
        (("train", "deft/smoke", "--processes", "2"), "--processes needs --accelerate"),
        (("train", "deft/smokey"), "did you mean deft/smoke"),
        (("train", "deft/smoke", "outputs=runs/x"), "did you mean 'output'"),
        (("train", "flow/smoke", "--dry-run"), "task flow has no dry run"),
        (("eval", "simulatid"), "did you mean simulated"),
        (("eval", "calibration"), "expected one of simulated"),
        (("eval", "leaderboard"), "no folder; give those that benchmarks wrote"),
        (("eval", "casme2"), "casme2: no folder; give it as it was unpacked: corpus=/data/"),
        (("calibrate", "checkpoint=nowhere", "data=[]"), "no validation clips"),
        (("demo", "--checkpoint", "nowhere"), "checkpoint nowhere: no such folder"),
        (("export", "nowhere", "-o", "out"), "nowhere: no recipe.json"),
    ],
)
def test_wrong_input_gets_one_line(
    run: Run, here: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = run(*arguments)
    assert (result.status, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1 and words in result.err
    assert not list(here.iterdir())


def test_a_recognizer_is_exported_with_onnx(run: Run, here: Path) -> None:
    (here / "run").mkdir()
    (here / "run" / "recipe.json").write_text('{"recognizer": "mol", "data": {"folder": null}}')
    result = run("export", "run", "-o", "out")
    assert result.status == 2 and "a run of another task than deft" in result.err
    assert "a recognizer is exported with --onnx" in result.err


def test_a_benchmark_prints_tables_then_figures(run: Run, calls: Calls, here: Path) -> None:
    options = ("--json", "f.json", "--models", "ststnet,htnet", "--seeds", "2", "--oracle-epoch")
    result = run("eval", "megc2019_flow", *options, "folds=3")
    assert result.status == 0, result.err
    assert result.out.splitlines()[0] == "| a table |"
    assert result.out.splitlines()[-2:] == [
        "uf1 = 0.8 (bar >= 0.85)  MISSED",
        "parsed = 1 (bar >= 0.99)",
    ]
    wanted = ["folds=3", "models=[ststnet,htnet]", "seeds=2", "oracle_epoch=true"]
    assert calls == [(resources.benchmark("megc2019_flow"), wanted)]
    assert [row["name"] for row in json.loads((here / "f.json").read_text())] == ["uf1", "parsed"]
    assert run("eval", "--check", "simulated").status == 1


def test_a_calibration_needs_no_plan_of_its_own(run: Run, calls: Calls, here: Path) -> None:
    own = here / "mine.yaml"
    own.write_text("checkpoint: runs/x\n", encoding="utf-8")
    assert run("calibrate", "checkpoint=runs/x", "data=[]").status == 0
    assert run("calibrate", "mine.yaml", "data=[]").status == 0
    plan = resources.benchmark("calibration")
    assert calls == [(plan, ["checkpoint=runs/x", "data=[]"]), (Path("mine.yaml"), ["data=[]"])]


def test_the_demo_without_gradio_says_how_to_get_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deft_llm.cli.demo.find_spec", lambda name: None)
    result = run("demo")
    assert result.status == 2
    assert result.err == (
        "deft-llm: the demo needs gradio; get it with: pip install 'deft-llm[demo]'\n"
    )


@pytest.mark.slow
def test_a_smoke_recipe_trains_in_an_empty_folder(run: Run, here: Path) -> None:
    """All that it needs comes with the package; all that it makes lies where the user is."""
    result = run("train", "deft/smoke")
    assert result.status == 0, result.err
    assert [path.name for path in here.iterdir()] == ["runs"]
    assert (here / "runs" / "deft-smoke" / "final" / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_benchmark_runs_in_an_empty_folder(run: Run, here: Path) -> None:
    """Embedded checkpoint and recipes are found, and cache and rows lie where the user is."""
    few = ("data.own.clips=4", "data.own.identities=4", "train_data=none")
    result = run("eval", "simulated", *few)
    assert result.status == 0, result.err
    assert "uf1 = " in result.out
    assert [path.name for path in here.iterdir()] == ["runs"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("leaderboard", "runs", "--check"), "--check: is for benchmarks"),
        (("leaderboard", "runs", "--json", "f.json"), "--json: is for benchmarks"),
        (("export", "task=mevqa", "--page", "x.html"), "--page: is for eval leaderboard"),
        (("simulated", "--format", "lmms-eval"), "--format: is for eval export"),
    ],
)
def test_no_option_is_passed_over(run: Run, command: tuple[str, ...], told: str) -> None:
    result = run("eval", *command)
    assert result.status == 2 and told in result.err


def test_a_federation_that_was_told_to_stop_ends_as_shells_expect(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr("deft_llm.evaluation.federated.tables.compared", stop)
    result = run("federate", "federated/psyau_smoke")
    assert result.status == 128 + signal.SIGTERM
    assert result.err.endswith("stopped; the same command goes on after the last finished round\n")


@pytest.mark.parametrize("port", ["0", "-1", "99999"])
def test_the_demo_needs_a_port(run: Run, port: str) -> None:
    assert "is not in the range" in run("demo", "--port", port).err
