"""Models a front end may load: the embedded one, those in one folder, and cached hub models.

No name resolves to a path outside the allowed folder ("..", absolute paths and links that lead out
are refused). Nothing is downloaded: a hub name refers to the hub client's local cache.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError

from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.inference.adapted import adapted_models, model_path
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError, did_you_mean
from deft_llm.resources import EMBEDDED

_ADAPTER, _WHOLE = "adapter_config.json", "config.json"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_HELD = 2  # models kept in memory
_NAMED = 5  # models that the message about a wrong name lists


class Models:
    """Loads models by name and keeps the last two."""

    def __init__(self, embedded: Path, folder: Path | None = None) -> None:
        """Set the allowed models.

        Args:
            embedded: What is loaded for "embedded": the checkpoint that comes with the project,
                another folder, or the name of a downloaded language model.
            folder: Everything below it may be loaded; None allows only the embedded model and the
                hub client's cache.
        """
        self.embedded = embedded
        self.folder = folder.resolve() if folder is not None else None
        self._held: OrderedDict[str, Explainer] = OrderedDict()
        self._lock = Lock()

    def names(self) -> list[str]:
        """Those of the package, and every DEFT-LLM or adapter to one below the allowed folder."""
        own = [EMBEDDED, *adapted_models()]
        if self.folder is None or not self.folder.is_dir():
            return own
        found = {
            path.parent.relative_to(self.folder).as_posix()
            for name in (_WHOLE, _ADAPTER)
            for path in self.folder.rglob(name)
            # Links may lead out of the folder; "checkpoint-N" are the steps of a training run.
            if self._inside(path.parent) and "checkpoint-" not in path.parent.name
            if self._can_load(path.parent)
        }
        return [*own, *sorted(found - {".", *own})]

    def get(self, name: str) -> Explainer:
        """The named model, from memory or from disk.

        Raises:
            UserError: If the name is not allowed or no such model exists.
        """
        # Held while loading, or two requests would load the same model twice.
        with self._lock:
            if name not in self._held:
                self._held[name] = self._load(name)
                # After loading: the new one has to fit beside the two before it for a moment.
                while len(self._held) > _HELD:
                    self._held.popitem(last=False)
            self._held.move_to_end(name)
            return self._held[name]

    def resolve(self, name: str) -> Path:
        """The folder of a named model.

        Args:
            name: "embedded", another one of the package, a folder below the allowed one, or a hub
                name "owner/model".

        Raises:
            UserError: As ``get``; the message contains no local path.
        """
        # Before the allowed folder, whose own folder of this name would hide it.
        if name == EMBEDDED:
            return model_path(self.embedded)
        if name in adapted_models():
            return model_path(name)
        local = self._local(name)
        if local is not None:
            return local
        known = self.names()
        # A run's folder may look like a hub name, and holds a model of another kind if it is here.
        if _HUB_NAME.fullmatch(name) and ".." not in name and not self._is_folder(name):
            if (cached := _cached(name)) is not None:
                return cached
            raise UserError(
                f"model {name}: not on this machine, and this page downloads nothing; get it "
                f"first with: hf download {name}{did_you_mean(name, known)}"
            )
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        raise UserError(
            f"model {name!r}: expected one of {', '.join(known[:_NAMED])}{more}, or a hub name as "
            "owner/model; other folders are allowed when the page is started (--models FOLDER)"
            f"{did_you_mean(name, known)}"
        )

    def _local(self, name: str) -> Path | None:
        # An empty name would be the folder itself, and ``resolve`` fails on a NUL.
        if self.folder is None or not name.strip() or "\0" in name:
            return None
        # Resolved first: ".." and links are looked through, and an absolute name replaces the
        # folder.
        path = (self.folder / name).resolve()
        if not self._inside(path):
            return None
        return path if (path / _ADAPTER).is_file() or _is_deft(path) else None

    def _can_load(self, folder: Path) -> bool:
        """Whether a folder holds a DEFT-LLM, or an adapter to one that is allowed."""
        if not (folder / _ADAPTER).is_file():
            return _is_deft(folder)
        base = _base_name(folder)
        if base is None:
            return False
        if self._is_embedded(base) or base in adapted_models():
            return True
        found = self._local(base) or _cached(base)
        return found is not None and _is_deft(found)

    def _is_embedded(self, base: str) -> bool:
        # An adapter names its base as it was loaded: by name, or by the folder behind it.
        return base in {EMBEDDED, str(self.embedded), str(model_path(self.embedded))}

    def _is_folder(self, name: str) -> bool:
        return self.folder is not None and (self.folder / name).is_dir()

    def _inside(self, path: Path) -> bool:
        return self.folder is not None and path.resolve().is_relative_to(self.folder)

    def _load(self, name: str) -> Explainer:
        folder = self.resolve(name)
        if not (folder / _ADAPTER).is_file():
            # By name, as a language model may read the questions of another one's clips.
            named = {EMBEDDED: self.embedded, **{own: Path(own) for own in adapted_models()}}
            return Explainer.load(named.get(name, folder))
        if not (folder / "adapter_model.safetensors").is_file():
            raise UserError(
                f"adapter {name}: no adapter_model.safetensors; save it again with PEFT"
            )
        base_name = _base_name(folder)
        if base_name is None:
            raise UserError(f"adapter {name}: {_ADAPTER} names no base; save it again")
        base = self.resolve(EMBEDDED if self._is_embedded(base_name) else base_name)
        if (base / _ADAPTER).is_file():
            raise UserError(f"adapter {name}: its base is an adapter itself; merge that one first")
        # Imported late: it loads peft, which only adapters need.
        from deft_llm.deft.tuning.adapters import merged

        # A fresh copy of the base, never one in memory: merging changes its weights in place.
        explainer = Explainer.load(base)
        try:
            model = merged(explainer.model, folder)
        except (ValueError, RuntimeError, SafetensorError) as error:
            # torch lists every weight that does not fit, a line each.
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"adapter {name}: does not fit {base_name} ({reason})") from error
        return Explainer(model, explainer.processor)


def _is_deft(folder: Path) -> bool:
    """Whether a folder holds a DEFT-LLM: networks of other kinds have a config.json as well."""
    return _settings(folder / _WHOLE).get("model_type") == DeftConfig.model_type


def _base_name(adapter: Path) -> str | None:
    """What an adapter says that it was trained on."""
    base = _settings(adapter / _ADAPTER).get("base_model_name_or_path")
    return base if isinstance(base, str) else None


def _settings(file: Path) -> dict[str, Any]:
    """The values of a JSON file; none if it is missing or damaged."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _cached(name: str) -> Path | None:
    """The folder of a hub model in the hub client's cache."""
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
