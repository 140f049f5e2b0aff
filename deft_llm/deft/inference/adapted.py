"""Names of models: "embedded", a folder, or a downloaded language model with our adapters.

Of the last kind, the package holds adapters alone. Those of a DEFT-LLM, with experts, projectors
and heads, are put into the language model at the first use, and the whole model is kept in the
user's cache: merging takes longer than everything else at the start. Those of a reader of questions
are put into it whenever it is loaded; without the others, the embedded checkpoint judges the clips.
"""

from __future__ import annotations

import logging
from pathlib import Path

from deft_llm import registry, resources
from deft_llm.downloads import DOWNLOADS, cache_folder, model_file, model_folder
from deft_llm.errors import UserError, did_you_mean
from deft_llm.files import file_digest, naming_disk_errors, replacing_folder

logger = logging.getLogger(__name__)
WEIGHTS = "adapter_model.safetensors"
# By name, because training, which it belongs to, imports inference.
_WRITERS = {"lora": "deft_llm.deft.tuning.adapted:write_adapted"}


def model_path(name: str | Path) -> Path:
    """The folder of a model.

    Args:
        name: "embedded", the name of a downloaded language model, or a folder, whose files are not
            checked.

    Raises:
        UserError: If there is no such folder, the language model was not downloaded or is damaged,
            the package has no adapters for it, or the cache cannot be written.
    """
    if str(name) in _language_models() and not Path(name).exists():
        return _adapted(str(name))
    folder = resources.checkpoint(name)
    if not folder.is_dir():
        names = [resources.EMBEDDED, *_language_models()]
        raise UserError(
            f"checkpoint {name}: no such folder; expected {', '.join(names)} or the folder that "
            f"train.py writes as final/{did_you_mean(str(name), names)}"
        )
    return folder


def reader_path(name: str | Path) -> Path | None:
    """The package's adapters by which a downloaded language model reads questions, if any."""
    folder = resources.reader(str(name))
    return (
        folder if str(name) in DOWNLOADS and folder.is_dir() and not Path(name).exists() else None
    )


def adapted_models() -> list[str]:
    """Downloaded language models that are here and that the package has adapters for."""
    return [
        name
        for name in _language_models()
        if model_file(name) and (_weights(name).is_file() or reader_path(name))
    ]


def _language_models() -> list[str]:
    """Names of the language models that can be downloaded."""
    return [name for name, download in DOWNLOADS.items() if download.converted_from]


def _weights(name: str) -> Path:
    return resources.adapters(name) / WEIGHTS


def _adapted(name: str) -> Path:
    text_model = model_folder(name)
    if not _weights(name).is_file():
        if reader_path(name):
            return resources.checkpoint()
        raise UserError(f"model {name!r}: this version of the package has no adapters for it")
    # Other adapters, of another version of the package, make another model.
    folder = cache_folder() / f"{name}-{file_digest(_weights(name))[:12]}"
    if not folder.is_dir():
        logger.info("putting the adapters into %s, once", name)
        write = registry.resolve(_WRITERS, "lora", "kind of adapters")
        with naming_disk_errors(folder), replacing_folder(folder) as partial:
            write(resources.adapters(name), text_model, partial)
    return folder
