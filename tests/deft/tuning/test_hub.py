"""Uploading a run: what is sent, when, and what is said if the hub refuses. No network."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi

from deft_llm.config import read_yaml
from deft_llm.deft.tuning import hub
from deft_llm.deft.tuning import train as deft
from deft_llm.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


class StubApi:
    """Notes what would be sent to the hub."""

    calls: list[tuple[str, Any]] = []
    refusal: Exception | None = None

    def create_repo(self, repo_id: str, **options: Any) -> None:
        if self.refusal:
            raise self.refusal
        self.calls.append(("create", (repo_id, options)))

    def upload_folder(self, repo_id: str, folder_path: Path, **_: Any) -> Any:
        files = sorted(path.name for path in Path(folder_path).iterdir())
        self.calls.append(("upload", (repo_id, files)))
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> type[StubApi]:
    monkeypatch.setattr(StubApi, "calls", [])
    monkeypatch.setattr(StubApi, "refusal", None)
    monkeypatch.setattr(hub, "HfApi", StubApi)
    return StubApi


def recipe(output: Path, data: Path, **changes: Any) -> dict[str, Any]:
    values = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")
    values.pop("task")
    few = {"experts": {"steps": 0}, "instruct": {"steps": 1, "batch_size": 2}}
    return {**values, **few, "output": str(output), "data": [], "folders": [str(data)], **changes}


def test_a_finished_run_is_uploaded_with_its_card(
    api: type[StubApi], data: Path, tmp_path: Path
) -> None:
    values = recipe(tmp_path / "run", data, push_to_hub="me/model")
    deft.train(values, "smoke.yaml")
    assert [name for name, _ in api.calls] == ["create", "create", "upload"]
    assert api.calls[0][1] == ("me/model", {"private": True, "exist_ok": True})
    name, files = api.calls[-1][1]
    assert name == "me/model"
    assert {"README.md", "config.json", "model.safetensors", "processor_config.json"} <= set(files)
    # The flag changes nothing that is trained: a finished run can be uploaded later, or not again.
    deft.train(recipe(tmp_path / "run", data), "smoke.yaml")
    assert len(api.calls) == 3


def test_a_hub_that_is_not_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the errors of the client that is installed."""
    monkeypatch.setattr(hub, "HfApi", partial(HfApi, "http://127.0.0.1:9", token="none"))
    with pytest.raises(UserError, match=r"push_to_hub 'me/model': .*refused.*; log in"):
        hub.require_repository("me/model")


@pytest.mark.parametrize(
    ("refusal", "name", "words"),
    [
        (
            OSError("Token is required"),
            "me/model",
            "Token is required; log in with `hf auth login`",
        ),
        (None, "me/my/model", "Repo id must be"),
    ],
)
def test_a_refusal_is_told_before_anything_is_trained(
    api: type[StubApi],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Exception | None,
    name: str,
    words: str,
) -> None:
    monkeypatch.setattr(api, "refusal", refusal)
    with pytest.raises(UserError, match=words) as caught:
        deft.train(recipe(tmp_path / "run", data, push_to_hub=name), "smoke.yaml")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_adapters_merge_without_the_data_from_another_folder(
    data: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative checkpoint is found above the run; data and templates are not needed."""
    home = tmp_path / "project"
    shutil.copytree(tiny_checkpoint, home / "models" / "begun")
    shutil.copytree(data, home / "data")
    monkeypatch.chdir(home)
    values = recipe(Path("runs/x"), Path("data"), checkpoint="models/begun", model={})
    deft.train({**values, "text_model": {"lora_rank": 2}}, "smoke.yaml")
    shutil.rmtree(home / "data")
    monkeypatch.chdir(tmp_path)
    merged = hub.export(home / "runs" / "x", tmp_path / "merged", merge=True)
    assert (merged / "model.safetensors").is_file()
    # A model that was built, not loaded, is built again: with the tokenizer that was saved.
    shutil.copytree(data, tmp_path / "data")
    built = recipe(Path("built"), Path("data"))
    deft.train({**built, "text_model": {**built["text_model"], "lora_rank": 2}}, "smoke.yaml")
    shutil.rmtree(tmp_path / "data")
    monkeypatch.chdir(home)
    again = hub.export(tmp_path / "built", tmp_path / "again", merge=True)
    assert (again / "model.safetensors").is_file()
