"""One writer of tables: the same cells as Markdown, LaTeX and CSV."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deft_llm.evaluation.recognition.tables import paper_table
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


# --------------------------------------------------------------------------- LaTeX

COLUMN_MM = 88.0


def _tables(text: str) -> list[list[list[str]]]:
    """Lines of cells of each tabular; checks what a compiler would stop at."""
    depth = 0
    for char in re.sub(r"\\\\|\\[%_&#${}]|^%.*$", "", text, flags=re.MULTILINE):
        depth += (char == "{") - (char == "}")
        assert depth >= 0
    assert depth == 0, "braces"
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0, "formulas"
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}")
    assert text.isascii()
    tables = []
    for body in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
        part = [line for line in body.splitlines() if line != "\\midrule"]
        assert all(line.endswith(" \\\\") for line in part)
        # An option of the line's end, for LaTeX.
        assert not any(line.lstrip().startswith(("[", "*")) for line in part)
        found = [re.split(r"(?<!\\)&", line.removesuffix("\\\\")) for line in part]
        assert len({len(cells) for cells in found}) == 1, "cells"
        tables.append([[cell.strip() for cell in cells] for cells in found])
    return tables


def _shown(cell: str) -> str:
    """What a cell prints, roughly."""
    cell = re.sub(r"\\phantom\{([^}]*)\}", r"\1", cell)
    cell = re.sub(r"\\(textsuperscript)\{([^}]*)\}", r"\2", cell).replace("\\times", "x")
    return re.sub(r"\\text\w+\{\}", "t", cell).replace("$", "").replace("\\", "")


def _width_mm(text: str) -> float:
    """Width of the widest tabular in 8 pt type: 4.25 pt a character, 6 pt between."""
    widest = 0.0
    for table in _tables(text):
        columns = list(zip(*table, strict=True))
        longest = sum(max(len(_shown(cell)) for cell in column) for column in columns)
        widest = max(widest, 4.25 * longest + 6.0 * (len(columns) - 1))
    return widest * 25.4 / 72.27


def test_every_sign_is_printed_as_itself() -> None:
    text = latex([{"a": "50 % of $x_1 & {y} #2 ~ ^ \\ <b> |", "b": "[x] 3 × 4 ± 1 – 2"}])
    assert len(_tables(text)) == 1
    for sign in ("\\%", "\\$x\\_1", "\\&", "\\{y\\}", "\\#2", "\\textasciitilde{}"):
        assert sign in text
    assert "\\textbackslash{} $<$b$>$ $|$" in text and "3 $\\times$ 4 $\\pm$ 1 -- 2" in text
    assert "\n{}[x] &" in latex([{"a": "[x]", "b": "y"}])


EXOTIC = [
    *("sub_01 50 % #3 & $x$", "{a}~^\\b", "--fast", "José Ærø Łódź Straße", "naïve Čech ő ç ẽ"),
    *("中文", "Ω 😀 ½", "tab\there", "[x]", "*", "<b>|", '"q" `q\'', "a\u0301 e\u0323"),
]


def test_letters_of_other_alphabets_are_plain_signs() -> None:
    text = latex([{name: name for name in EXOTIC}], marks=["a"], notes=EXOTIC)
    assert len(_tables(text)) == 1
    assert "Jos\\'{e} \\AE{}r\\o{} \\L{}\\'{o}d\\'{z} Stra\\ss{}e" in text
    assert 'na\\"{\\i }ve \\v{C}ech \\H{o} \\c{c} \\~{e}' in text
    assert "[U+4E2D][U+6587]" in text and "-{}-fast" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_exotic_names_compile(tmp_path: Path) -> None:
    tables = [latex([{"name": x, "UF1": 0.5}], notes=[x]) for x in EXOTIC]
    page = [
        *("\\documentclass{article}", "\\usepackage{booktabs}", "\\begin{document}"),
        *tables,
        "\\end{document}",
    ]
    (tmp_path / "page.tex").write_text("\n".join(page), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout[-800:]


def test_decimal_points_stand_below_each_other() -> None:
    rows: list[dict[str, object]] = [
        {"n": "-1.5", "m": 3},
        {"n": "12", "m": 0.25},
        {"n": "", "m": ""},
    ]
    text = latex(rows)
    assert "{@{}rr@{}}" in text
    shown = [[_shown(cell) for cell in line] for line in _tables(text)[0][1:]]
    assert shown == [["-1.5", "3.000"], ["12.0", "0.250"], ["", ""]]
    assert "12\\phantom{.0}" in text and "$-$1.5" in text
    assert "{@{}lrr@{}}" in latex(ROWS)


@pytest.mark.parametrize("corpora", [("SMIC",), ("SMIC", "CASME II", "SAMM")])
def test_the_table_for_a_paper_fits_its_column(corpora: tuple[str, ...]) -> None:
    rows = [
        {
            "model": model,
            "UF1": 0.5123,
            "95 % interval": "0.471 to 0.555",
            "SD of seeds": 0.01,
            "UAR": 0.5,
            **{f"UF1 {name}": 0.41 for name in corpora},
            "gain over baseline": gain,
            "McNemar p": p,
            "selection": selection,
            "note": "a long note that has its place in the Markdown table",
        }
        for model, gain, p, selection in (
            ("oracle_ststnet", "-0.012 [-0.034, +0.010]", "0.041", "ORACLE: best epoch"),
            ("prior_flow", "+0.021 [+0.002, +0.040]", "0.003", "C, gamma by inner validation"),
            ("logistic_flow", "", "", "C, gamma by inner validation"),
        )
    ]
    text = paper_table(rows)
    lines, *others = _tables(text)
    assert lines[0] == ["Model", "UF1", "95 \\% CI", "UAR", "Gain", "p"]
    assert [_shown(cell) for cell in lines[1]] == [
        *("oracle_ststneta", "0.512", "0.471--0.555", "0.500", "-0.012", "0.041")
    ]
    assert [len(table) for table in (lines, *others)] == [4] * (1 + (len(corpora) > 1))
    assert _width_mm(text) <= COLUMN_MM
    # How a number was chosen belongs to the number, in a paper as well.
    assert "\\textsuperscript{a}\\,ORACLE: best epoch\\par" in text
    assert text.count("\\textsuperscript{b}") == 3


def test_a_bar_in_a_cell_is_no_column() -> None:
    text = markdown([{"model": "a|b", "note": "two\nlines"}])
    assert text.splitlines()[2] == "| a\\|b | two lines |"
