"""DEFT-LLM: emotion, AUs and an explanation based on measured motion.

Importing the package loads nothing else; import the modules that you need
(``deft_llm.media.video``, ``deft_llm.motion.measure``, ``deft_llm.deft`` ...). From then on,
transformers' ``AutoConfig``, ``AutoModelForImageTextToText``, ``AutoFeatureExtractor`` and
``AutoProcessor`` know DEFT-LLM, whichever of the two packages was imported first.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

__version__ = "0.1.0"

_AUTO = "transformers.models.auto"
# Module with an Auto class -> our module, which registers its class there when it is imported.
_REGISTERED_BY = {
    f"{_AUTO}.configuration_auto": "deft_llm.deft.configuration_deft",
    f"{_AUTO}.feature_extraction_auto": "deft_llm.deft.feature_extraction_deft",
    f"{_AUTO}.processing_auto": "deft_llm.deft.processing_deft",
    f"{_AUTO}.modeling_auto": "deft_llm.deft.modeling_deft",
}


def _register(auto: str) -> None:
    # A module that is just being imported asked for the Auto class itself, and registers later.
    if _REGISTERED_BY[auto] not in sys.modules:
        importlib.import_module(_REGISTERED_BY[auto])


class _RegisteringLoader(SourceFileLoader):
    """Loads a module of transformers, then registers our class with it."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _register(module.__name__)


class _AutoFinder:
    """Finds the modules of transformers with which we register.

    Registering waits until one of them is loaded, because importing transformers takes seconds.
    """

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _REGISTERED_BY:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _RegisteringLoader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _AutoFinder)
for _auto in _REGISTERED_BY:
    if _auto in sys.modules:
        _register(_auto)
