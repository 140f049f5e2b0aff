"""Which clips an argument names, from empty files: nothing is decoded for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from deft_llm.cli.clips import find_clips, one_clip
from deft_llm.errors import UserError
from deft_llm.media.video import read_clip

from .conftest import Run


def tree(root: Path, *names: str) -> Path:
    """Empty files below a folder; a name that ends in "/" is a folder."""
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return root


def found(*arguments: Path) -> list[tuple[str, str]]:
    """Name of each clip, and the folder that its report goes to."""
    return [(clip.path.name, clip.folder.as_posix()) for clip in find_clips(arguments)]


def test_a_folder_of_pictures_is_one_clip(tmp_path: Path) -> None:
    folder = tree(tmp_path / "EP01", "1.jpg", "2.jpg", "masks/1.png", "masks/2.png")
    assert found(folder) == [("EP01", ".")]


def test_videos_and_frames_are_found_at_any_depth_in_natural_order(tmp_path: Path) -> None:
    names = ("s1/a10.mp4", "s1/a2.MKV", "s2/EP1/1.png", "s2/EP1/2.png", "s2/cover.jpg", "notes.txt")
    root = tree(tmp_path / "data", *names)
    assert found(root) == [("a2.MKV", "s1"), ("a10.mp4", "s1"), ("EP1", "s2")]


def test_several_arguments_stay_in_their_order(tmp_path: Path) -> None:
    root = tree(tmp_path, "b.mp4", "a/1.mp4", "a/.hidden.mp4")
    assert found(root / "b.mp4", root / "a") == [("b.mp4", "."), ("1.mp4", ".")]


def test_reports_of_earlier_runs_are_no_clips(tmp_path: Path) -> None:
    root = tree(tmp_path, "a.mp4", "out/a/explanation.json", "out/a/overlay.png", "out/a/x.png")
    assert found(root) == [("a.mp4", ".")]


def test_videos_beside_pictures_are_the_clips_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert found(tree(tmp_path, "a.mp4", "1.png", "2.png")) == [("a.mp4", ".")]
    assert "taking the videos alone" in caplog.text


def test_a_gif_of_one_picture_is_a_frame(tmp_path: Path) -> None:
    """And one that moves is a clip, as is one that cannot be looked into: reading it tells why."""
    root = tree(tmp_path, "frames/", "films/cut.gif")
    pictures = [Image.new("L", (8, 8), 9 * i) for i in range(3)]
    for i, picture in enumerate(pictures):
        picture.save(root / "frames" / f"{i}.gif")
    pictures[0].save(root / "films" / "a.gif", save_all=True, append_images=pictures[1:])
    assert found(root) == [("a.gif", "films"), ("cut.gif", "films"), ("frames", ".")]
    clip = read_clip(root / "frames", fps=50)
    assert clip.frames[:, 0, 0].tolist() == [[9 * i] * 3 for i in range(3)]


def test_a_single_picture_may_be_a_stack(tmp_path: Path) -> None:
    assert found(tree(tmp_path / "EP01", "frames.tif")) == [("EP01", ".")]


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", "a/1.mp4")
    (root / "a" / "up").symlink_to(root, target_is_directory=True)
    assert found(root) == [("1.mp4", "a")]


def test_here_and_above_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree(tmp_path / "EP01", "1.png", "2.png", "sub/")
    monkeypatch.chdir(folder / "sub")
    assert found(Path("..")) == [("EP01", ".")]
    monkeypatch.chdir(folder)
    assert found(Path()) == [("EP01", ".")]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("-", "standard input"),
        ("https://example.org/a b.mp4", "https://example.org/a b.mp4: an address on the network"),
        ("empty", "no images and no videos"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_names_no_clip_has_one_true_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, words: str
) -> None:
    monkeypatch.chdir(tree(tmp_path, "empty/notes.txt", "good.mp4"))
    (bad, good) = find_clips([Path(argument), Path("good.mp4")])
    assert words in bad.problem and "\n" not in bad.problem
    assert good.path == Path("good.mp4") and not good.problem
    with pytest.raises(UserError, match=words[:20]):
        one_clip(Path(argument))


@pytest.mark.parametrize("command", ["explain", "spot", "recognize", "chat"])
def test_an_empty_name_is_not_the_current_folder(
    run: Run, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a shell's variable that is not set."""
    monkeypatch.chdir(tree(tmp_path, "a.mp4"))
    result = run(command, "")
    assert result.status == 2 and "an empty name; expected a video or a folder" in result.err


def test_a_name_like_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("sub:")
    Path("sub:/clip 12:30.mp4").touch()
    assert one_clip(Path("sub:/clip 12:30.mp4")) == Path("sub:/clip 12:30.mp4")


def test_chat_takes_one_clip(tmp_path: Path) -> None:
    root = tree(tmp_path, "a.mp4", "b.mp4")
    with pytest.raises(UserError, match=r"holds 2 clips; give one, for example .*a\.mp4"):
        one_clip(root)


def test_results_of_a_search_are_no_clips(tmp_path: Path) -> None:
    names = ("search.jsonl", "curve.png", "expression_3.jpg", "expression_9.jpg")
    root = tree(tmp_path, "a.mp4", *(f"out/a/{name}" for name in names), "heat/1.png", "heat/2.png")
    assert [clip.path.name for clip in find_clips([root], root / "heat")] == ["a.mp4"]


def test_a_link_to_itself_is_passed_over(tmp_path: Path) -> None:
    root = tree(tmp_path, "a.mp4")
    (root / "loop").symlink_to("loop")
    assert found(root) == [("a.mp4", ".")]
