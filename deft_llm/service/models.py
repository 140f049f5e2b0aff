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

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError

from deft_llm.deft.inference.adapted import adapted_models, model_path
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.resources import EMBEDDED

_ADAPTER, _WHOLE = "adapter_config.json", "config.json"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_HELD = 2  # models kept in memory


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
        """Those of the package, and every model or adapter below the allowed folder."""
        own = [EMBEDDED, *adapted_models()]
        if self.folder is None or not self.folder.is_dir():
            return own
        found = {
            path.parent.relative_to(self.folder).as_posix()
            for name in (_WHOLE, _ADAPTER)
            for path in self.folder.rglob(name)
            # Links may lead out of the folder; "checkpoint-N" are the steps of a training run.
            if self._inside(path.parent) and "checkpoint-" not in path.parent.name
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
        if _HUB_NAME.fullmatch(name) and ".." not in name:
            try:
                return Path(snapshot_download(name, local_files_only=True))
            except (LocalEntryNotFoundError, HFValidationError):
                raise UserError(
                    f"model {name}: not on this machine, and this page downloads nothing; get it "
                    f"first with: hf download {name}"
                ) from None
        allowed = ", ".join(self.names())
        raise UserError(
            f"model {name!r}: expected one of {allowed}, or a hub name as owner/model; other "
            "folders are allowed when the page is started (--models FOLDER)"
        )

    def _local(self, name: str) -> Path | None:
        # An empty name would be the folder itself, and ``resolve`` fails on a NUL.
        if self.folder is None or not name.strip() or "\0" in name:
            return None
        # Resolved first: ".." and links are looked through, and an absolute name replaces the
        # folder.
        path = (self.folder / name).resolve()
        has_model = (path / _WHOLE).is_file() or (path / _ADAPTER).is_file()
        return path if has_model and self._inside(path) else None

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
        try:
            settings = json.loads((folder / _ADAPTER).read_text(encoding="utf-8"))
            base_name = str(settings["base_model_name_or_path"])
        except (ValueError, KeyError):
            raise UserError(f"adapter {name}: {_ADAPTER} names no base; save it again") from None
        base = self.embedded if base_name == str(self.embedded) else self.resolve(base_name)
        if (base / _ADAPTER).is_file():
            raise UserError(f"adapter {name}: its base is an adapter itself; merge that one first")
        # Imported late: only adapters need it.
        from peft import PeftModel

        # A fresh copy of the base, never one in memory: merging changes its weights in place.
        explainer = Explainer.load(base)
        try:
            merged = PeftModel.from_pretrained(explainer.model, folder).merge_and_unload()
        except (ValueError, RuntimeError, SafetensorError) as error:
            # torch lists every weight that does not fit, a line each.
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"adapter {name}: does not fit {base_name} ({reason})") from error
        return Explainer(merged, explainer.processor)
