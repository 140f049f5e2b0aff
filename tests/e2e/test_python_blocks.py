"""The Python of README and docs that reads a clip runs as it stands, with a demo clip."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "demo" / "clips" / "01_surprise.mp4"
BLOCK = re.compile(r"^ *```python\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def blocks() -> list[tuple[str, str]]:
    """Page and code of the blocks that read ``clip.mp4``, which any clip can stand in for."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [(page.name, code) for page in pages for code in BLOCK.findall(page.read_text("utf-8"))]
    return [(page, code) for page, code in found if '"clip.mp4"' in code]


@pytest.mark.parametrize("code", [code for _, code in blocks()], ids=[page for page, _ in blocks()])
def test_it_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(CLIP, tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    exec(dedent(code), {})


def test_both_pages_have_such_a_block() -> None:
    """Without one, the test above would pass by running nothing."""
    assert {page for page, _ in blocks()} == {"README.md", "own_video.md"}
