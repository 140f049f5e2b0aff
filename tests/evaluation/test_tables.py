"""One writer of tables: the same cells as Markdown, LaTeX and CSV."""

from __future__ import annotations

from pathlib import Path

from deft_llm.evaluation.tables import comma_separated, latex, markdown, write_table

ROWS = [{"model": "a_b", "UF1": 0.12345, "clips": 3}, {"model": "c", "UF1": "", "clips": 40}]


def test_cells_are_the_same_in_every_format() -> None:
    assert markdown(ROWS).splitlines() == [
        "| model | UF1 | clips |",
        "|---|---|---|",
        "| a_b | 0.123 | 3 |",
        "| c |  | 40 |",
    ]
    assert comma_separated(ROWS).splitlines() == ["model,UF1,clips", "a_b,0.123,3", "c,,40"]
    assert "a\\_b & 0.123 & 3 \\\\" in latex(ROWS).splitlines()


def test_the_ending_decides_the_format(tmp_path: Path) -> None:
    for ending, text in (("md", markdown(ROWS)), ("tex", latex(ROWS))):
        write_table(tmp_path / f"table.{ending}", ROWS)
        assert (tmp_path / f"table.{ending}").read_text(encoding="utf-8") == text
