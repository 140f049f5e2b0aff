from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel
from safetensors.numpy import save_file

from deft_llm.errors import UserError
from deft_llm.files import (
    claim,
    digest,
    file_digest,
    read_lines,
    replacing,
    replacing_folder,
    write_bytes,
    write_lines,
    write_text,
)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_file_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as partial:
        partial.write_text("half")
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_lines_that_fail_half_way_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_lines(tmp_path / "a.jsonl", (str(1 / k) for k in (1, 0)))
    assert not list(tmp_path.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    write_text(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    write_bytes(path, b"\0")
    assert path.read_bytes() == b"\0"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="file modes of POSIX")
def test_a_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    # safetensors makes its files private.
    with replacing(tmp_path / "a.safetensors") as partial:
        save_file({"x": np.zeros(1)}, partial)
    (tmp_path / "other").touch()
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no.a\.bin: cannot be written"):
        write_bytes(tmp_path / "no" / "a.bin", b"")


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "final"
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder) as partial:
        (partial / "half").touch()
        raise KeyboardInterrupt
    assert not folder.exists()
    with replacing_folder(folder) as partial:
        (partial / "whole").touch()
        assert not folder.exists()
    assert [p.name for p in tmp_path.rglob("*")] == ["final", "whole"]


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(UserError, match="no such file"):
        list(read_lines(path))
    write_lines(path, ['{"a": 1}', "[2]", "{"])
    rows = read_lines(path)
    assert next(rows) == {"a": 1}
    with pytest.raises(UserError, match=r"line 2: expected a JSON object, got '\[2\]"):
        next(rows)
    write_lines(path, ["{}", "{"])
    with pytest.raises(UserError, match="line 2: not JSON"):
        list(read_lines(path))


class _Recipe(BaseModel):
    seed: int
    workers: int = 1


def test_a_folder_is_claimed_by_what_it_is_made_from(tmp_path: Path) -> None:
    note = tmp_path / "run" / "recipe.json"
    for workers in (1, 2):
        claim(note, _Recipe(seed=1, workers=workers), {"workers"}, "holds another run")
    with pytest.raises(UserError, match="run holds another run"):
        claim(note, _Recipe(seed=2), {"workers"}, "holds another run")
    assert '"seed": 1' in note.read_text()


def test_digests(tmp_path: Path) -> None:
    whole = hashlib.sha256("abü".encode()).hexdigest()
    assert digest("a", b"b", "ü") == digest("abü") == whole
    write_text(tmp_path / "a", "abü")
    assert file_digest(tmp_path / "a") == whole
    for array in (np.arange(6).reshape(2, 3), np.array(["x", "yz"]), np.zeros((0, 2))):
        assert digest(array.data) == hashlib.sha256(array.tobytes()).hexdigest()
