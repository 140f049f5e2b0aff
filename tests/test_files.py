from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from deft_llm import files
from deft_llm.errors import UserError
from deft_llm.files import (
    csv_line,
    digest,
    file_digest,
    naming_disk_errors,
    read_lines,
    replacing,
    replacing_folder,
    sampled_digest,
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


def test_no_file_is_open_to_all_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mask of the process is that of all its threads: it is not touched while they write."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the mask was set"))
    write_text(tmp_path / "a", "a")
    with replacing_folder(tmp_path / "folder") as partial:
        (partial / "b").touch()


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
    with replacing_folder(folder, overwrite=True) as partial:
        (partial / "new").touch()
        assert (folder / "whole").exists()
    assert [p.name for p in tmp_path.rglob("*")] == ["final", "new"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_others_may_read_a_folder_as_they_may_read_files(tmp_path: Path) -> None:
    """safetensors makes its files private."""
    (tmp_path / "plain").touch()
    with replacing_folder(tmp_path / "final") as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "weights").touch(mode=0o600)
    modes = {(tmp_path / name).stat().st_mode for name in ("plain", "final/inner/weights")}
    assert len(modes) == 1


def test_a_cell_stays_one_cell() -> None:
    """Of a name with a carriage return, csv makes two rows; a spreadsheet runs a formula."""
    cells = ["a\rb.mp4", "\r=1+1", "=1+1", "a,b\n"]
    line = csv_line(cells)
    assert line.endswith("\n") and not line.endswith("\r\n")
    (row,) = csv.reader(io.StringIO(line, newline=""))
    assert row == ["a\rb.mp4", "'\r=1+1", "'=1+1", "a,b\n"]


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


class _Refused(Exception):
    """What safetensors raises: the number of the error is in its text."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "run/x.pt"), "run/x.pt: .*No space left"),
        (OSError(errno.ENOSPC, "No space left on device"), "run: .*No space left"),
        (OSError(errno.EROFS, "Read-only file system"), "run: .*Read-only file system"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "run"), "run: .*Not a directory"),
        (_Refused("I/O error: No space left on device (os error 28)"), "run: .*No space left"),
        (RuntimeError("[enforce fail at inline_container.cc:858] . x"), "the disk may be full"),
    ],
)
def test_what_the_disk_refuses_is_one_line(error: Exception, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught, naming_disk_errors(Path("run")):
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), FileNotFoundError(2, "x", "y")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)), naming_disk_errors(Path("run")):
        raise error


@pytest.mark.parametrize("large", [False, True])
def test_a_sampled_digest_sees_truncation_and_both_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        monkeypatch.setattr(files, "_PARTS", 3)
        monkeypatch.setattr(files, "_PART", 10)
    path, whole = tmp_path / "a", bytes(range(100))
    seen = set()
    for data in (whole, whole[:-1], b"x" + whole[1:], whole[:-1] + b"x", whole[:50] + b"xx"):
        path.write_bytes(data)
        seen.add(sampled_digest(path))
    assert len(seen) == 5
    path.write_bytes(whole)
    assert sampled_digest(path) in seen


def test_digests(tmp_path: Path) -> None:
    whole = hashlib.sha256("abü".encode()).hexdigest()
    assert digest("a", b"b", "ü") == digest("abü") == whole
    write_text(tmp_path / "a", "abü")
    assert file_digest(tmp_path / "a") == whole
    for array in (np.arange(6).reshape(2, 3), np.array(["x", "yz"]), np.zeros((0, 2))):
        assert digest(array.data) == hashlib.sha256(array.tobytes()).hexdigest()
