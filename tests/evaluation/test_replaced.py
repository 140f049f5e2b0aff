"""A folder of results shows one run; what nobody here wrote stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft_llm.evaluation.replaced import replacing_results


def run(folder: Path, *names: str, text: str = "x", read: tuple[Path, ...] = ()) -> None:
    folder.mkdir(exist_ok=True)
    with replacing_results(folder, read=read) as new:
        for name in names:
            (new / name).parent.mkdir(exist_ok=True)
            (new / name).write_text(text)


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("[!.]*")}


def test_files_of_an_earlier_run_go_and_all_others_stay(tmp_path: Path) -> None:
    run(tmp_path, "table.md", "7/plot.png", "3/plot.png", "3/edited.md", text="old")
    (tmp_path / "3" / "edited.md").write_text("mine")
    (tmp_path / "3" / "plot-mine.png").write_text("mine")
    run(tmp_path, "table.md", "4/plot.png", text="new")
    kept = {"table.md", "4", "4/plot.png", "3", "3/edited.md", "3/plot-mine.png"}
    assert files(tmp_path) == kept and (tmp_path / "table.md").read_text() == "new"
    # What was changed by hand stays for good.
    run(tmp_path, "table.md")
    assert files(tmp_path) == kept - {"4", "4/plot.png"}


def test_what_a_run_reads_stays_while_it_is_read(tmp_path: Path) -> None:
    run(tmp_path, "answers.jsonl")
    for _ in range(2):
        run(tmp_path, "table.md", read=(tmp_path / "answers.jsonl",))
        assert files(tmp_path) == {"answers.jsonl", "table.md"}
    run(tmp_path, "table.md")
    assert files(tmp_path) == {"table.md"}


def test_a_run_that_fails_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path, "table.md", text="old")
    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), replacing_results(tmp_path) as new:
        (new / "table.md").write_text("new")
        raise KeyboardInterrupt
    assert (tmp_path / "table.md").read_text() == "old" and set(tmp_path.iterdir()) == before
