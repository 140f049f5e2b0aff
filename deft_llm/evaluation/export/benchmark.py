"""``deft-llm eval export``: clips of a corpus, or simulated ones, as a task of a harness."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator

from deft_llm import facs, registry, resources
from deft_llm.config import Settings, apply_overrides, validate_settings
from deft_llm.corpora.base import load_class
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.prepared import PrepareSettings
from deft_llm.data.simulated import SimulatedData
from deft_llm.data.sources import ClipSource
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import settings_of
from deft_llm.evaluation.corpus_table.material import measured_corpus, read_folder, settings_for
from deft_llm.evaluation.export.material import make_task
from deft_llm.evaluation.vlm.views import inputs_of

logger = logging.getLogger(__name__)
#: Name -> module whose ``write`` makes the files of a harness.
FORMATS = {
    "lmms-eval": "deft_llm.evaluation.export.lmms_eval:write",
    "vlmevalkit": "deft_llm.evaluation.export.vlmevalkit:write",
}


class ExportSettings(Settings):
    """What is exported.

    Attributes:
        corpus: Folder of a corpus, as it was unpacked; None for simulated clips.
        reader: Its reader (``corpora.base.CORPORA``), which says what schemes there are.
        simulated: Simulated clips, if there is no corpus: those of the pinned benchmark.
        scheme: Label scheme (``facs.SCHEMES``).
        show: What is shown of a clip (``vlm.views.VIEWS``).
        task: Name of the task; None makes one.
        output: Folder of the task.
        cache: Folder of measured clips.
        prepare: How clips are measured.
        workers: Processes that measure.
    """

    corpus: Path | None = None
    reader: str = "casme2"
    simulated: int = Field(default=600, ge=1)
    scheme: str = "3"
    show: list[str] = Field(default_factory=lambda: ["onset_apex", "flow"])
    task: str | None = None
    output: Path = Path("runs/export")
    cache: Path = Path("cache")
    prepare: PrepareSettings = Field(default_factory=PrepareSettings)
    workers: int = Field(default=os.cpu_count() or 1, ge=1)

    @field_validator("scheme", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        # A bare 3 is a number in YAML.
        return str(value) if isinstance(value, int) else value


def export(form: str, changes: Sequence[str]) -> tuple[list[Path], str]:
    """Write a task.

    Args:
        form: A name of ``FORMATS``.
        changes: Settings as dotted changes.

    Returns:
        The files, and what the task holds, in words.

    Raises:
        UserError: If a setting is wrong or would change nothing, the corpus has no such classes, or
            no clip can be used.
    """
    write = registry.resolve(FORMATS, form, "format", "--format")
    values = apply_overrides({}, changes)
    settings = validate_settings(ExportSettings, values, "eval export")
    _require_used(settings)
    _require_scheme(settings)
    inputs = inputs_of(settings.show)
    clips, left_out = _clips(settings, inputs)
    of = settings.reader if settings.corpus else "simulated"
    # Harnesses take letters, figures and underscores.
    name = re.sub(r"\W+", "_", settings.task or f"me_{of}_{settings.scheme}").lower()
    folder = settings.output / name
    task = make_task(name, clips, settings.scheme, settings.show, folder)
    files = write(folder, task)
    left = left_out + task.left_out
    return files, f"{len(task.clips)} clips in task {name}; {left} without a class or not measured"


def _require_used(settings: ExportSettings) -> None:
    """Refuse settings of the source that is not exported.

    Raises:
        UserError: If there is one.
    """
    corpus = settings.corpus is not None
    unused = settings.model_fields_set & ({"simulated"} if corpus else {"reader", "prepare"})
    for name in sorted(unused):
        given, other = ("corpus is", "simulated clips") if corpus else ("no corpus is", "a corpus")
        mend = (
            f"leave {name} or corpus out" if corpus else f"add corpus=/data/…, or leave {name} out"
        )
        raise UserError(f"eval export: {name} is for {other}, and {given} given; {mend}")


def _require_scheme(settings: ExportSettings) -> None:
    """Refuse a label scheme before anything is measured.

    Raises:
        UserError: If it is unknown, or the corpus does not code its classes.
    """
    facs.to_scheme(None, settings.scheme)
    if settings.corpus is None:
        return
    corpus = load_class(settings.reader)
    if settings.scheme not in corpus.schemes:
        raise UserError(
            f"eval export: scheme {settings.scheme}: {corpus.title} does not code these classes; "
            f"expected one of {', '.join(corpus.schemes)}"
        )


def _clips(settings: ExportSettings, inputs: Sequence[str]) -> tuple[ClipDataset, int]:
    """Measured clips, and how many could not be."""
    if settings.corpus is None:
        data = settings_of(resources.benchmark("simulated"))["data"]["own"]
        wanted = {**data, "clips": settings.simulated, "workers": settings.workers}
        wanted["identities"] = min(wanted["identities"], settings.simulated)
        logger.info(
            "no corpus is given: %d clips are simulated and measured, those that %s does not hold; "
            "corpus=/data/… takes real ones, simulated=… another number",
            *(settings.simulated, settings.cache),
        )
        source = ClipSource(simulated=SimulatedData(**wanted))
        clips = source.open(inputs, settings.cache)
        measured = clips.measured()
        return measured, len(clips) - len(measured)
    corpus, reading = read_folder(settings.reader, settings.corpus, "take reader=")
    found = measured_corpus(
        corpus, reading, settings.cache, settings_for(inputs, settings.prepare), settings.workers
    )
    return found.clips, len(found.left_out)
