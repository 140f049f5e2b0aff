"""``deft-llm explain`` and wrong input: one line, status 2, and nothing half written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from deft_llm.viz import overlay
from tests.e2e.small_clips import DeftLlm, Film, Frames, files, folder_of_frames, labels, noise


def _cut_index(path: Path, frames: Frames) -> None:
    """A video whose index stood at the end, which is gone."""
    whole = path.with_name("whole.mp4")
    from deft_llm.media.video import write_video

    write_video(whole, frames, 30)
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _bad_input(kind: str, folder: Path, film: Film, face: Frames) -> tuple[Path, str]:
    """A path that cannot be explained, and a word of the reason."""
    path = folder / f"{kind}.mp4"
    if kind == "no-face":
        return film(path.name, noise(8)), "no face found"
    if kind == "one-frame":
        return film(path.name, face[:1]), "1 frame"
    if kind == "empty":
        path.touch()
        return path, "empty"
    if kind == "cut":
        _cut_index(path, face[:6])
        return path, "complete to its end"
    if kind == "text":
        path.write_text("onset,apex,offset\n" * 50, encoding="utf-8")
        return path, "not a readable video"
    if kind == "mixed-sizes":
        frames = folder_of_frames(folder / kind, face[:2])
        cv2.imwrite(str(frames / "img2.png"), face[2][:100])
        return frames, "different sizes"
    if kind == "no-images":
        (folder / kind).mkdir()
        return folder / kind, "no images"
    return path, "no such file"


@pytest.mark.parametrize(
    "kind",
    ["no-face", "one-frame", "empty", "cut", "text", "mixed-sizes", "no-images", "missing"],
)
def test_wrong_input_gets_one_line(
    deft_llm: DeftLlm, film: Film, face: Frames, tmp_path: Path, kind: str
) -> None:
    path, reason = _bad_input(kind, tmp_path, film, face)
    result = deft_llm("explain", path)
    assert result.status == 2
    assert len(result.err.splitlines()) == 1, result.err
    assert result.err.startswith("deft-llm: ")
    assert reason in result.err
    assert path.stem in result.err
    # What is there is said at once, before it is known whether it shows a face that moves.
    assert labels(result.out) == (["clip"] if kind in {"no-face", "mixed-sizes"} else [])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["model.safetensors", "tokenizer.json"])
def test_checkpoint_lacks_a_part(
    deft_llm: DeftLlm, film: Film, face: Frames, tiny_checkpoint: Path, tmp_path: Path, part: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, broken)
    (broken / part).unlink()
    result = deft_llm("explain", film("clip.mp4", face[5:20:5]), checkpoint=broken)
    assert result.status == 2
    assert len(result.err.splitlines()) == 1, result.err
    assert part in result.err
    assert not (tmp_path / "out").exists()


def test_report_cannot_be_written(
    deft_llm: DeftLlm, film: Film, face: Frames, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file where the folder should be", encoding="utf-8")
    result = deft_llm("explain", film("clip.mp4", face[5:20:5]))
    assert result.status == 2
    assert result.err.splitlines()[-1].startswith("deft-llm: ")
    assert "--out" in result.err


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A real process: what native libraries print on their own is seen as well."""
    command = [sys.executable, "-m", "deft_llm", *arguments]
    environment = {**os.environ, "TERM": "dumb"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def test_wrong_input_in_a_process_of_its_own(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video\n" * 50, encoding="utf-8")
    done = _command("explain", str(text), "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["explain", "--colour", "clip.mp4"], "--colour"),
        (["explain"], "Missing argument"),
        (["explian", "clip.mp4"], "explian"),
    ],
)
def test_wrong_usage(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    word: str,
) -> None:
    from deft_llm.__main__ import main

    monkeypatch.setattr(sys, "argv", ["deft-llm", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    assert ended.value.code == 2
    assert not out
    assert "Usage" in err
    assert word in err
    assert "Traceback" not in err


def test_ctrl_c_leaves_nothing_half_written(
    deft_llm: DeftLlm,
    film: Film,
    face: Frames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(overlay, "strip", interrupt)  # in the middle of writing the report
    result = deft_llm("explain", film("clip.mp4", face[5:20:5]))
    assert result.status == 130
    assert "Traceback" not in result.err
    assert not files(tmp_path / "out")


def test_ctrl_c_during_the_imports(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from deft_llm.__main__ import main

    class Stopped:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "deft_llm.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "deft_llm.cli.main", raising=False)
    monkeypatch.delattr("deft_llm.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Stopped, *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capfd.readouterr().err == ""
