"""A run that was stopped and called again ends in the very bytes of one that was not.

Rendering is replaced by random features (conftest), except in the slow test.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deft_llm.config import read_yaml
from deft_llm.data import clip_shards as parts
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.simulated import SimulatedData
from deft_llm.deft.tuning import stages as deft_stages
from deft_llm.deft.tuning import train as deft
from deft_llm.errors import UserError
from deft_llm.files import read_lines
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.stopping import Stopped
from deft_llm.unimer import simulated
from deft_llm.unimer.answer_writer import Templates
from deft_llm.unimer.simulated import build_simulated

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "deft_llm" / "unimer" / "templates"


DRAWN = {"clips": 10, "identities": 4, "seed": 5_000_000, "variants": 2, "turns": 2, "workers": 1}


def recipe(output: Path, **changes: Any) -> dict[str, Any]:
    """The smoke recipe in a folder of its own; its data is that of the fixture ``data``."""
    values = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")
    values.pop("task")
    own = {"output": str(output), "templates": str(TEMPLATES), "data": DRAWN}
    return {**values, **own, **changes}


Rendering = Callable[..., Iterator[MeasuredClip]]


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    output = tmp_path_factory.mktemp("straight") / "run"
    shutil.copytree(data, output / "data")
    deft.train(recipe(output), "smoke.yaml")
    return output


@pytest.mark.parametrize("leaking", [True, False])
def test_a_leak_into_held_out_data_stops_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaking: bool
) -> None:
    """The gate comes before the model, so that nothing is trained on a leak."""
    shutil.copytree(data, tmp_path / "run" / "data")
    held_out = tmp_path / "held-out"
    held_out.mkdir()
    line = (data / "clips.jsonl").read_text().splitlines()[0]
    if not leaking:
        kept = {"subject": "other", "clip": "other", "content": "other"}
        line = json.dumps({**json.loads(line), **kept})
    (held_out / "clips.jsonl").write_text(line + "\n")

    def reached(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deft, "build_model", reached)
    expected = (UserError, "share subject") if leaking else (KeyboardInterrupt, None)
    with pytest.raises(expected[0], match=expected[1]):
        deft.train(recipe(tmp_path / "run", held_out=[str(held_out)]), "smoke.yaml")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def model_files(output: Path) -> dict[str, bytes]:
    """The finished model; its config also notes the type in which weights were last loaded."""
    files = contents(output / "final")
    files.pop("config.json")
    assert {"model.safetensors", "tokenizer.json", "processor_config.json"} <= set(files)
    return files


def _stopped_trainer(stage: str, step: int) -> type[deft_stages.DeftTrainer]:
    """A trainer that Ctrl-C reaches in one stage, before the given step is done."""

    class Stopped(deft_stages.DeftTrainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            if Path(self.args.output_dir).name == stage and self.state.global_step == step:
                raise KeyboardInterrupt
            return super().training_step(*args, **kwargs)

    return Stopped


@pytest.mark.parametrize("stage", ["instruct", "experts"])
def test_resumed_run_ends_bit_equal(
    stage: str,
    data: Path,
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    output = tmp_path / "run"
    shutil.copytree(data, output / "data")
    with monkeypatch.context() as patch:
        # Checkpoints are at 2 and 4: one step is lost and has to be done again.
        patch.setattr(deft_stages, "DeftTrainer", _stopped_trainer(stage, 3))
        with pytest.raises(KeyboardInterrupt):
            deft.train(recipe(output), "smoke.yaml")
    assert not (output / "final").exists()
    assert (output / stage / "checkpoint-2").is_dir()
    with caplog.at_level("INFO", "deft_llm"):
        deft.train(recipe(output), "smoke.yaml")
    # Starting again from nothing would end in the same bytes, yet be no resume.
    assert f"stage {stage} goes on from" in caplog.text
    assert "checkpoint-2" in caplog.text
    assert model_files(output) == model_files(straight)


@pytest.mark.parametrize(("stage", "number"), [("experts", "SIGTERM"), ("instruct", "SIGINT")])
def test_a_signal_saves_the_step_in_hand(
    stage: str,
    number: str,
    data: Path,
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    output = tmp_path / "run"
    shutil.copytree(data, output / "data")

    class Signalled(deft_stages.DeftTrainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            if Path(self.args.output_dir).name == stage and self.state.global_step == 2:
                os.kill(os.getpid(), getattr(signal, number))
            return super().training_step(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(deft_stages, "DeftTrainer", Signalled)
        with pytest.raises(Stopped) as caught:
            deft.train(recipe(output), "smoke.yaml")
    assert caught.value.status == {"SIGTERM": 143, "SIGINT": 130}[number]
    with caplog.at_level("INFO", "deft_llm"):
        deft.train(recipe(output), "smoke.yaml")
    assert f"stage {stage} goes on from {output / stage / 'checkpoint-3'}" in caplog.text
    assert model_files(output) == model_files(straight)


def test_a_damaged_checkpoint_of_a_stage_is_passed_over(
    data: Path, straight: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "run"
    shutil.copytree(straight, output)
    shutil.rmtree(output / "final")
    state = output / "instruct" / "checkpoint-4" / "optimizer.pt"
    state.write_bytes(state.read_bytes()[:-1])
    with caplog.at_level("INFO", "deft_llm"):
        deft.train(recipe(output), "smoke.yaml")
    assert "checkpoint-4 is damaged (optimizer.pt is not as it was saved)" in caplog.text
    assert f"stage instruct goes on from {output / 'instruct' / 'checkpoint-2'}" in caplog.text
    assert model_files(output) == model_files(straight)


def test_stopped_while_the_model_was_saved(
    data: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step is done, the final folder is not yet in place."""
    output = tmp_path / "run"
    shutil.copytree(data, output / "data")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deft.DeftProcessor, "save_pretrained", interrupt)
        with pytest.raises(KeyboardInterrupt):
            deft.train(recipe(output), "smoke.yaml")
    assert (output / "instruct" / "checkpoint-4").is_dir()
    assert not (output / "final").exists()
    deft.train(recipe(output), "smoke.yaml")
    assert model_files(output) == model_files(straight)
    steps = [row["step"] for row in read_lines(output / "instruct.log.jsonl")]
    assert max(steps) == 4  # none was taken on top


def test_stopped_while_a_checkpoint_was_saved(
    data: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint without its optimizer is none: the run goes on from the one before."""
    output = tmp_path / "run"
    shutil.copytree(data, output / "data")

    class Stopped(deft_stages.DeftTrainer):
        def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
            if output_dir.endswith("instruct/checkpoint-4"):
                raise KeyboardInterrupt
            super()._save_optimizer_and_scheduler(output_dir)

    with monkeypatch.context() as patch:
        patch.setattr(deft_stages, "DeftTrainer", Stopped)
        with pytest.raises(KeyboardInterrupt):
            deft.train(recipe(output), "smoke.yaml")
    assert (output / "instruct" / "checkpoint-4").is_dir()
    deft.train(recipe(output), "smoke.yaml")
    assert model_files(output) == model_files(straight)


def test_finished_run_is_left_alone(straight: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = contents(straight)
    with caplog.at_level("INFO", "deft_llm"):
        deft.train(recipe(straight), "smoke.yaml")
    assert "already finished at step 4" in caplog.text
    assert contents(straight) == before


def test_folder_of_another_recipe_is_refused(straight: Path) -> None:
    before = contents(straight)
    with pytest.raises(UserError, match="another recipe") as caught:
        deft.train(recipe(straight, seed=1), "smoke.yaml")
    assert str(straight) in str(caught.value)
    assert "seed was 0, is 1 now" in str(caught.value)
    assert contents(straight) == before


def _stopped_rendering(
    render_many: Callable[..., Iterator[MeasuredClip]], after: int, seen: list[int]
) -> Callable[..., Iterator[MeasuredClip]]:
    """Rendering that stops with Ctrl-C after some clips; notes the clips in ``seen``."""

    def render(specs: Iterable[ClipSpec], *rest: Any) -> Iterator[MeasuredClip]:
        for observed in render_many(specs, *rest):
            if len(seen) == after:
                raise KeyboardInterrupt
            seen.append(int(observed.record.clip.rpartition("-")[2]))
            yield observed

    return render


def _build_in_two_goes(
    data: SimulatedData,
    folder: Path,
    render_many: Callable[..., Iterator[MeasuredClip]],
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> tuple[list[int], list[int]]:
    """Build, stopped after some clips, then build again; the seeds rendered in each go."""
    first: list[int] = []
    second: list[int] = []
    monkeypatch.setattr(parts, "CLIPS_PER_SHARD", 2)
    monkeypatch.setattr(simulated, "render_many", _stopped_rendering(render_many, after, first))
    with pytest.raises(KeyboardInterrupt):
        build_simulated(data, folder, Templates(TEMPLATES))
    assert not (folder / "clips.jsonl").exists()
    monkeypatch.setattr(simulated, "render_many", _stopped_rendering(render_many, -1, second))
    build_simulated(data, folder, Templates(TEMPLATES))
    return first, second


def test_stopped_data_building_keeps_whole_shards(
    tmp_path: Path,
    no_rendering: Rendering,
    drawn: SimulatedData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "CLIPS_PER_SHARD", 2)
    monkeypatch.setattr(simulated, "render_many", no_rendering)
    build_simulated(drawn, tmp_path / "whole", Templates(TEMPLATES))
    first, second = _build_in_two_goes(
        drawn, tmp_path / "stopped", no_rendering, monkeypatch, after=5
    )
    assert first == [drawn.seed + i for i in range(5)]
    assert second == [drawn.seed + i for i in range(4, drawn.clips)]  # the fifth was half a shard
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_from_nothing_with_rendering(
    tmp_path: Path, drawn: SimulatedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole path: stopped while rendering, then in each stage, each time called again."""
    few = drawn.model_copy(update={"clips": 4})
    real = simulated.render_many
    _build_in_two_goes(few, tmp_path / "stopped" / "data", real, monkeypatch, after=3)
    monkeypatch.setattr(simulated, "render_many", real)
    for stage in ("experts", "instruct"):
        with monkeypatch.context() as patch:
            patch.setattr(deft_stages, "DeftTrainer", _stopped_trainer(stage, 3))
            with pytest.raises(KeyboardInterrupt):
                deft.train(recipe(tmp_path / "stopped", data=few.model_dump()), "smoke.yaml")
    for name in ("stopped", "straight"):
        deft.train(recipe(tmp_path / name, data=few.model_dump()), "smoke.yaml")
    assert model_files(tmp_path / "stopped") == model_files(tmp_path / "straight")
    data_folders = [contents(tmp_path / name / "data") for name in ("stopped", "straight")]
    assert data_folders[0] == data_folders[1]
