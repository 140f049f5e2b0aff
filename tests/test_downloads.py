"""Optional models: where they are kept; only the right file gets there, with its licence."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from deft_llm import downloads
from deft_llm.downloads import DOWNLOADS, FACE_MESH, LICENCE, cache_folder, fetch, is_whole
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


def serve(monkeypatch: pytest.MonkeyPatch, model: bytes | None, status: int = 0) -> list[str]:
    """Let pip "download" a wheel with that model; the command that was run."""
    commands: list[str] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands[:] = command
        if model is not None:
            folder = Path(command[command.index("--dest") + 1])
            with zipfile.ZipFile(folder / "mediapipe-0.10.21-none-any.whl", "w") as archive:
                archive.writestr(DOWNLOADS[FACE_MESH].file, model)
                archive.writestr(DOWNLOADS[FACE_MESH].licence_file, "as you like")
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
