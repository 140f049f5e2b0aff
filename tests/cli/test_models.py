"""``deft-llm models``, and who places the landmarks of a user's clip."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deft_llm.cli.reading import Reading
from deft_llm.downloads import FACE_MESH, model_path
from deft_llm.errors import UserError
from deft_llm.spotters.registry import load_spotter, make_spotter

from .conftest import Run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(data: bytes) -> Path:
    """A file where the mesh belongs."""
    path = model_path(FACE_MESH)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


def test_what_is_there_is_listed(run: Run, cache: Path) -> None:
    before = run("models")
    assert before.status == 0 and "Apache-2.0" in before.out
    assert "not here; deft-llm models get face-mesh downloads 36 MB" in before.out
    path = put(b"half of it")
    assert f"damaged: {path}" in run("models").out


def test_the_real_file_is_here_already(run: Run, cache: Path, mesh_file: Path) -> None:
    path = put(mesh_file.read_bytes())
    assert f"here: {path}" in run("models").out
    got = run("models", "get", "face-mesh")
    assert got.status == 0 and "already" in got.out and "downloading" not in got.out


def test_without_a_network_one_line(
    run: Run, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # pip asks an empty folder, and no index.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    got = run("models", "get", "face-mesh")
    assert got.status == 2 and "36 MB" in got.out
    assert got.err.startswith("deft-llm: mediapipe==0.10.21: pip could not download it (")
    assert got.err.count("\n") == 1
    assert not model_path(FACE_MESH).exists()


def test_an_unknown_model_is_told(run: Run, cache: Path) -> None:
    assert run("models", "get", "facemesh").status == 2


@pytest.mark.parametrize(
    ("there", "named", "finder"),
    [(False, None, "network"), (True, None, "face-mesh"), (True, "mean", "mean")],
)
def test_the_finder_of_a_command(cache: Path, there: bool, named: str | None, finder: str) -> None:
    if there:
        put(b"")
    options = Reading(landmarks=named).of(Path("clip.mp4"))
    assert options.landmarks == finder


def test_an_unknown_finder_is_told(cache: Path) -> None:
    with pytest.raises(UserError, match=r"--landmarks\): expected one of network, face-mesh, mean"):
        Reading(landmarks="mesh").of(Path("clip.mp4"))


def test_published_weights_become_a_spotter(run: Run, tmp_path: Path) -> None:
    network = make_spotter("me_tst", {})
    weights = tmp_path / "subject_1.safetensors"
    # As a network that was trained on several GPUs names them.
    save_file({f"module.{name}": v for name, v in network.state_dict().items()}, weights)
    made = run("models", "spotter", "me_tst", weights, "-o", tmp_path / "spotter")
    assert made.status == 0, made.err
    loaded = load_spotter(tmp_path / "spotter")
    assert loaded.name == "me_tst"
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    again = run("models", "spotter", "me_tst", weights, "-o", tmp_path / "spotter")
    assert again.status == 2 and "is there already" in again.err


def test_what_is_no_state_dict_leaves_no_folder(run: Run, tmp_path: Path) -> None:
    pickle = tmp_path / "subject_1.pkl"
    pickle.write_bytes(b"a pickle, perhaps")
    for name, file, words in (
        ("me_tst", pickle, "not a safetensors file"),
        ("me_tst", tmp_path / "none", "no such file"),
        ("me_tsd", pickle, "did you mean 'me_tst'?"),
    ):
        done = run("models", "spotter", name, file, "-o", tmp_path / "out")
        assert done.status == 2 and words in done.err
        assert len(done.err.splitlines()) == 1 and not (tmp_path / "out").exists()
