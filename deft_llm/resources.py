"""Files shipped with the package, found from any folder: checkpoint, templates, recipes, clips.

The wheel contains the repository's ``train_configs``, ``eval/benchmarks`` and ``demo/clips`` in
``deft_llm/resources``; a checkout has them beside the package. A user's own file or folder takes
precedence.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from deft_llm.errors import UserError

EMBEDDED = "embedded"
"""In a recipe, a benchmark or an option: use the trained network that comes with the package."""

_PACKAGE = Path(__file__).resolve().parent
# A folder whose YAML files are not recipes: they are for accelerate (:func:`machine`).
_NO_RECIPES = frozenset({"accelerate"})


def checkpoint(folder: str | Path = EMBEDDED) -> Path:
    """The folder of a DEFT-LLM: "embedded", or the user's own folder, which is not checked."""
    return embedded(folder, _PACKAGE / "deft" / "checkpoint")


def ships(name: str) -> bool:
    """Whether a DEFT-LLM of this name comes with the package, if only as adapters."""
    return not Path(name).exists() and (name == EMBEDDED or adapters(name).is_dir())


def adapters(name: str) -> Path:
    """The folder of the adapters that ship for a downloaded language model."""
    return _PACKAGE / "deft" / "adapters" / name


def reader(name: str) -> Path:
    """The folder of the adapters by which a downloaded language model reads questions."""
    return _PACKAGE / "queries" / "adapters" / name


def embedded(folder: str | Path, own: Path) -> Path:
    """The given folder, or the package's own for "embedded" unless a folder of that name exists."""
    path = Path(folder)
    return own if str(path) == EMBEDDED and not path.exists() else path


def templates() -> Path:
    """The folder with the templates of questions and answers."""
    return _PACKAGE / "unimer" / "templates"


def clips() -> Path:
    """The folder of rendered example clips; its subfolder ``long`` contains longer ones."""
    return _shipped("clips", "demo/clips")


def recipe(name: str | Path) -> Path:
    """The file of a recipe.

    Args:
        name: A file, or a shipped recipe in any of these forms: ``train_configs/deft/smoke.yaml``,
            ``deft/smoke.yaml``, ``deft/smoke``.

    Raises:
        UserError: If there is no such file or recipe; names the nearest recipes.
    """
    return _find(name, _shipped("train_configs", "train_configs"), "train_configs", "recipe")


def machine(name: str | Path) -> Path:
    """The file with accelerate's settings for a kind of machine.

    Args:
        name: A file, or one of ours: ``train_configs/accelerate/zero2.yaml``, ``zero2``.

    Raises:
        UserError: If there is none; names ours.
    """
    folder = _shipped("train_configs", "train_configs") / "accelerate"
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    path = Path(name)
    if path.is_file():
        return path
    if path.stem in known and path.suffix in ("", ".yaml"):
        return known[path.stem]
    raise UserError(
        f"accelerate configuration {str(name)!r}: no such file, and none of ours: "
        f"{', '.join(known)}"
    )


def model_sizes(name: str) -> Path | None:
    """The configuration of a published language model that ships with the recipes, if it does.

    Args:
        name: Its hub name, of which the part after the owner counts; a folder has its own.
    """
    if Path(name).is_dir():
        return None
    models = _shipped("train_configs", "train_configs") / "deft" / "models"
    path = models / f"{name.rpartition('/')[2]}.json"
    return path if path.is_file() else None


def benchmark(name: str | Path) -> Path:
    """The file of a benchmark, found in the same way: ``eval/benchmarks/simulated.yaml``.

    Raises:
        UserError: If there is no such file or benchmark; names the nearest benchmarks.
    """
    return _find(name, _shipped("benchmarks", "eval/benchmarks"), "eval/benchmarks", "benchmark")


def benchmark_data(name: str) -> Path:
    """A data file of a benchmark, which lies beside the benchmarks' settings."""
    return _shipped("benchmarks", "eval/benchmarks") / name


def _shipped(name: str, beside: str) -> Path:
    """A folder inside the installed package, or in the repository beside the package."""
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
    """The end of the message: similar names, or all names."""
    # The right file name in the wrong folder is a better hint than a similar spelling.
    last = wanted.rpartition("/")[2]
    same = [name for name in known if name.rpartition("/")[2] == last]
    near = same or get_close_matches(wanted, known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(known)}"
