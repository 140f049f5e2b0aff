"""An mkdocs hook: the API pages, one for each package of ``deft_llm`` and one for its modules.

The packages are read from the folder, so that a new one has its page without being listed.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PACKAGE = "deft_llm"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and their place in the navigation."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent / PACKAGE
    modules = sorted(p.stem for p in root.glob("*.py") if not p.stem.startswith("_"))
    packages = sorted(p.parent.name for p in root.glob("*/__init__.py"))
    pages = {"api/index.md": _index(root, modules, packages)}
    pages |= {f"api/{name}.md": _page(name, [name]) for name in packages}
    pages["api/modules.md"] = _page("Modules at the top", modules)
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    assert config.nav is not None, "mkdocs.yml has a nav"
    config.nav.append({"API": list(pages)})
    return files


def _page(title: str, names: list[str]) -> str:
    """A page whose blocks mkdocstrings fills in."""
    headed = len(names) > 1
    options = "    options:\n      show_root_heading: true\n      show_root_toc_entry: true\n"
    blocks = [f"::: {PACKAGE}.{name}\n" + (options if headed else "") for name in names]
    return "\n".join([f"# {title}\n", *blocks])


def _index(root: Path, modules: list[str], packages: list[str]) -> str:
    """A table of the packages and modules with the first sentence of each."""
    rows = [f"| [{n}]({n}.md) | {_summary(root / n / '__init__.py')} |" for n in packages]
    rows += [f"| [{n}](modules.md#{PACKAGE}.{n}) | {_summary(root / f'{n}.py')} |" for n in modules]
    return "\n".join(["# API\n", f"| `{PACKAGE}.` | |", "|---|---|", *rows, ""])


def _summary(path: Path) -> str:
    """The first line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")
