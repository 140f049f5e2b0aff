"""The pages: commands that they print exist with their options, and links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from deft_llm import resources
from deft_llm.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("[!.]*/README.md")])
BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\s*(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?deft-llm (.*)")
pages = pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])


def commands(page: Path) -> list[list[str]]:
    """The words after ``deft-llm`` of every command, in blocks and between backticks."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(BLOCK.findall(text)).replace("\\\n", " ")
    lines = [found[1] for line in blocks.splitlines() if (found := COMMAND.match(line))]
    lines += re.findall(r"`deft-llm ([^`]+)`", BLOCK.sub("", text))
    return [shlex.split(re.split(r"\s#", line)[0]) for line in lines]


def resolved(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and the other words."""
    command: click.Command = typer.main.get_command(app)
    context = click.Context(command, info_name="deft-llm")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, inner, words = command.resolve_command(context, words)
        assert inner is not None
        command, context = inner, click.Context(inner, info_name=name, parent=context)
    return command, words


@pages
def test_commands_have_the_options_that_are_printed(page: Path) -> None:
    for words in commands(page):
        command, rest = resolved(words)
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert given <= known | {"--help"}, words


@pages
def test_recipes_and_benchmarks_that_are_printed_exist(page: Path) -> None:
    find = {"train": resources.recipe, "eval": resources.benchmark}
    for words in commands(page):
        # A capital, a dot or … stands for a file of the reader's own; "eval" has commands inside.
        named = words[0] in find and len(words) > 1 and re.fullmatch(r"[a-z0-9_/]+", words[1])
        if named and words[1] not in ("export", "leaderboard"):
            assert find[words[0]](words[1]).is_file()


def heading_anchor(heading: str) -> str:
    """The anchor that the hosts of such pages give a heading."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


@pages
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(heading_anchor, headings), target


def measured(benchmark: str) -> dict[str, str]:
    """The figures of a benchmark in eval/RESULTS.md, with two decimals."""
    text = (ROOT / "eval" / "RESULTS.md").read_text(encoding="utf-8")
    part = text.partition(f"eval/benchmarks/{benchmark}.yaml")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| (-?[\d.e+-]+) \|", part, re.MULTILINE)
    # + 0.0 makes -0.00 a plain 0.00.
    return {name: f"{round(float(value), 2) + 0.0:.2f}" for name, value in rows}


def test_figures_of_the_readme_are_those_that_were_measured() -> None:
    got, text = measured("simulated"), (ROOT / "README.md").read_text(encoding="utf-8")
    lost = [got[f"drop_without_{expert}"] for expert in ("structure", "texture", "motion")]
    assert f"| UF1 lost | {' | '.join(lost)} |" in text
    for row, name in (("held", "held"), ("large, 3 to 20 px", "macro"), ("on a head", "turned")):
        uf1, ceiling = got[f"{name}_uf1"], got[f"{name}_ceiling_uf1"]
        aus, *claims = (
            got[f"grammar_{name}_{part}"]
            for part in ("au_macro_f1", "claim_precision", "claim_recall")
        )
        figures = f"| {uf1} ({ceiling}) | {aus} | {', '.join(claims)} |"
        assert re.search(rf"^\| {row}.* {re.escape(figures)}$", text, re.MULTILINE), figures


def test_what_is_said_of_both_readers_of_questions_was_measured() -> None:
    got, text = measured("chat"), (ROOT / "docs" / "own_video.md").read_text(encoding="utf-8")
    heard = [got[f"{name}_heard"].removeprefix("0.") for name in ("embedded", "smollm2")]
    assert f"they hear {' and '.join(heard)} %" in text


def test_the_pages_print_commands() -> None:
    """Without one, the tests above would pass by looking at nothing."""
    assert sum(map(len, map(commands, PAGES))) > 150
