"""Imports run one way, without circles, and model packages do not know each other."""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deft_llm"

# From the ground up. A part imports its own level or one below.
LEVELS: tuple[tuple[str, ...], ...] = (
    (
        *("errors", "compiled", "config", "registry", "files", "claims", "machine", "pace"),
        *("parallel", "quiet", "resources", "runs", "stages", "stopping", "weights", "downloads"),
    ),
    ("facs", "au_notation", "clip", "answers", "queries", "protocols", "leaks", "metrics"),
    ("media", "motion", "viz", "scans"),
    ("training",),
    ("simulator",),
    ("corpora",),
    ("data",),
    ("unimer",),
    ("flow_models", "landmark_models", "recognizers"),
    ("spotters", "facet", "gaze"),
    ("deft",),
    ("federated",),
    ("evaluation",),
    ("service",),
    ("cli",),
    ("__main__",),
)
LEVEL = {part: i for i, parts in enumerate(LEVELS) for part in parts}
MODEL_PACKAGES = frozenset(
    {"flow_models", "landmark_models", "recognizers", "spotters", "facet", "gaze", "deft"}
)
SCRIPTS = frozenset({"train", "eval", "demo", "instruction_data", "tests"})
# The one crossing that the design allows: a recognizer as the backbone of an expert.
ALLOWED = {("deft_llm.deft.backbones", "recognizers")}
# Opening a file of these can run code of whoever wrote it; the others break CPU installations.
BANNED = frozenset({"pickle", "dill", "joblib", "torchvision", "timm"})

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def _absolute(node: ast.ImportFrom, module: str) -> str:
    """The full name behind ``from ..x import y``."""
    if not node.level:
        return node.module or ""
    is_package = MODULES[module].name == "__init__.py"
    base = module.split(".")[: None if is_package and node.level == 1 else -node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


@cache
def imports(module: str) -> frozenset[str]:
    """Names that a module imports, inside functions too; submodules are resolved."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module)
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(name if name in MODULES else base)
    return frozenset(found)


def _part(module: str) -> str | None:
    """The part of the library a dotted name lies in: ``deft_llm.media.video`` -> ``media``."""
    names = module.split(".")
    return names[1] if names[0] == "deft_llm" and len(names) > 1 else None


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    part = _part(module)
    if part is not None:
        assert part in LEVEL, f"{part} has no level: give it one in LEVELS, as the design says"
    for name in imports(module):
        assert name.split(".")[0] not in SCRIPTS, f"{module} imports the script {name}"
        assert name.split(".")[0] not in BANNED, f"{module} imports {name}"
        other = _part(name)
        if part is None:
            assert other is None, f"importing the package must cost nothing, yet it imports {name}"
        if part is None or other is None or other == part or (module, other) in ALLOWED:
            continue
        assert LEVEL[other] <= LEVEL[part], f"{module} imports {name}, which lies above it"
        both = {part, other} <= MODEL_PACKAGES
        assert not both, f"{module} imports {name}: model packages do not know each other"


def test_contributing_has_the_same_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = text.partition("## The direction of imports")[2].split("```")[1]
    order = re.findall(r"^[a-z].*", re.sub(r" {2,}.*", "", block), re.MULTILINE)
    named = [part for line in order for part in re.findall(r"\w+(?=,|$)", line)]
    parts = [part for part in named if part in LEVEL]
    assert set(LEVEL) - set(parts) == {"__main__"}
    assert [LEVEL[part] for part in parts] == sorted(LEVEL[part] for part in parts)


def test_no_circles() -> None:
    # Imports inside functions count too: a circle hidden there is still a circle.
    graph = {m: {n for n in imports(m) if n in MODULES and n != m} for m in MODULES}
    # A package that re-exports its own modules is not a circle with them.
    for module, names in graph.items():
        if MODULES[module].name == "__init__.py":
            graph[module] = {n for n in names if not n.startswith(f"{module}.")}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imports run in a circle: {' -> '.join(error.args[1])}")


def test_parts_of_a_level_do_not_form_a_circle() -> None:
    # media, motion and viz may use each other, but only one way round.
    graph: dict[str, set[str]] = {part: set() for part in LEVEL}
    for module in MODULES:
        part = _part(module)
        if part is not None:
            graph[part] |= {p for n in imports(module) if (p := _part(n)) and p != part}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"parts import each other: {' -> '.join(error.args[1])}")


def test_scripts_do_not_lie_in_the_library() -> None:
    # Logic belongs to deft_llm/; it cannot come from a folder that is not installed with it.
    assert not {p.stem for p in PACKAGE.glob("*.py")} & SCRIPTS
