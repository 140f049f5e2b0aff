"""What comes with the package and is found from any folder: checkpoint, wording, recipes, clips.

The wheel holds the repository's ``train_configs``, ``eval/benchmarks`` and ``demo/clips`` in
``deft_llm/resources``; a checkout has them beside the package. A file or folder of the user's own
goes first.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from deft_llm.errors import UserError

EMBEDDED = "embedded"
"""Says in a recipe, a benchmark or an option: the trained network that comes with the package."""

_PACKAGE = Path(__file__).resolve().parent
# What only `accelerate launch --config_file` reads.
_NO_RECIPES = frozenset({"accelerate", "deepspeed"})


def checkpoint(folder: str | Path = EMBEDDED) -> Path:
    """The folder of a DEFT-LLM: "embedded", or a folder of the user's own, which is not checked."""
    return embedded(folder, _PACKAGE / "deft" / "checkpoint")


def embedded(folder: str | Path, own: Path) -> Path:
    """A folder as it is given, or the package's own where "embedded" names no folder here."""
    path = Path(folder)
    return own if str(path) == EMBEDDED and not path.exists() else path


def templates() -> Path:
    """The folder with the wording of questions and answers."""
    return _PACKAGE / "unimer" / "templates"


def clips() -> Path:
    """The folder of example clips, rendered; ``long/`` in it holds longer ones."""
    return _shipped("clips", "demo/clips")


def recipe(name: str | Path) -> Path:
    """The file of a recipe.

    Args:
        name: A file, or a recipe of ours in any of its forms: ``train_configs/deft/smoke.yaml``,
            ``deft/smoke.yaml``, ``deft/smoke``.

    Raises:
        UserError: If there is neither; names the nearest recipes.
    """
    return _find(name, _shipped("train_configs", "train_configs"), "train_configs", "recipe")


def benchmark(name: str | Path) -> Path:
    """The file of a benchmark, in the same way: ``eval/benchmarks/simulated.yaml``, ``simulated``.

    Raises:
        UserError: If there is none; names the nearest benchmarks.
    """
    return _find(name, _shipped("benchmarks", "eval/benchmarks"), "eval/benchmarks", "benchmark")


def _shipped(name: str, beside: str) -> Path:
    """A folder inside the wheel's package, or the repository's own beside the package."""
    inside = _PACKAGE / "resources" / name
    return inside if inside.is_dir() else _PACKAGE.parent / beside


def _find(name: str | Path, folder: Path, prefix: str, kind: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    known = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.yaml"))
        if path.parent.name not in _NO_RECIPES
    }
    wanted = Path(name).as_posix().removeprefix(f"{prefix}/").removesuffix(".yaml")
    if wanted in known:
        return known[wanted]
    raise UserError(
        f"{kind} {str(name)!r}: no such file, and none of ours; {_nearest(wanted, known)}"
    )


def _nearest(wanted: str, known: dict[str, Path]) -> str:
    """The end of the message: what looks like it, or everything there is."""
    last = wanted.rpartition("/")[2]
    same = [name for name in known if name.rpartition("/")[2] == last]
    near = same or get_close_matches(wanted, known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(known)}"
