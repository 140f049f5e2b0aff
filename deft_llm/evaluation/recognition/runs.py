"""Running one recognizer through folds and seeds; what is done is kept and not done again."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from deft_llm import protocols
from deft_llm.clip import Prediction
from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.files import digest, file_digest, write_lines
from deft_llm.metrics.classification import confusion_matrix, uf1
from deft_llm.recognizers.base import ClassicalRecognizer, Recognizer, load_recognizer
from deft_llm.training.fold_trainer import FoldSchedule, Job
from deft_llm.training.folds import train_folds

logger = logging.getLogger(__name__)
_INNER_FOLDS = 5


class Entry(Settings):
    """One row of the table.

    Attributes:
        recognizer: A name of ``recognizers.base``.
        options: Its own options.
        choices: Option -> values to choose from by subject-wise validation inside each training
            set (classical recognizers).
        schedule: How a network learns.
        seeded: Whether a classical recognizer takes ``seed``, and so has several runs.
        note: A word for the table.
    """

    recognizer: str
    options: dict[str, Any] = Field(default_factory=dict)
    choices: dict[str, list[Any]] = Field(default_factory=dict)
    schedule: FoldSchedule | None = None
    seeded: bool = False
    note: str = ""

    @property
    def selection(self) -> str:
        """How epoch and options were chosen, for the tables."""
        if self.schedule is not None and self.schedule.oracle_epoch:
            return "ORACLE: best epoch on the test subject"
        if self.choices:
            return f"{', '.join(self.choices)} by inner subject-wise validation"
        return "fixed schedule" if self.schedule is not None else "fixed settings"


@dataclass(frozen=True)
class Material:
    """What every model of a benchmark is given, N rows.

    Attributes:
        inputs: Named inputs.
        labels: Class indices (N,).
        subjects: (N,).
        clips: (N,), unique.
        datasets: (N,).
        classes: Their names.
    """

    inputs: dict[str, NDArray[np.float32]]
    labels: NDArray[np.int64]
    subjects: NDArray[np.str_]
    clips: NDArray[np.str_]
    datasets: NDArray[np.str_]
    classes: tuple[str, ...]

    def digest(self) -> str:
        """A hash of everything, so that kept rows belong to this material."""
        arrays = (*self.inputs.values(), self.labels, self.subjects, self.clips)
        return digest(*(np.ascontiguousarray(array).data for array in arrays))

    def taken(self, rows: protocols.Indices) -> dict[str, NDArray[np.float32]]:
        """The inputs of some rows."""
        return {name: array[rows] for name, array in self.inputs.items()}


def run_entry(
    name: str,
    entry: Entry,
    material: Material,
    splits: Sequence[protocols.Split],
    seeds: int,
    folder: Path,
) -> list[Prediction]:
    """Rows of one recognizer over all folds and seeds.

    Args:
        name: Name of the entry, for messages and files.
        entry: What to run.
        material: Inputs and labels.
        splits: The folds.
        seeds: Number of runs; 1 is used where nothing is random.
        folder: Where rows are kept, a file for each fold and seed.

    Returns:
        One row for each seed and tested clip.

    Raises:
        UserError: If the recognizer needs an input that this material has not.
    """
    sample = load_recognizer(entry.recognizer, len(material.classes), **entry.options)
    if absent := [i for i in sample.inputs if i not in material.inputs]:
        raise UserError(
            f"model {name}: {entry.recognizer} needs {absent[0]!r}, and this benchmark has "
            f"{', '.join(material.inputs)}; leave it out with --models"
        )
    random = isinstance(sample, Recognizer) or entry.seeded
    store = _Rows(folder, name, entry, material, splits)
    jobs = [(seed, split) for seed in range(seeds if random else 1) for split in splits]
    left = [(seed, split) for seed, split in jobs if not store.has(seed, split.fold)]
    if left and len(left) < len(jobs):
        logger.info("%s: %d of %d folds are done already", name, len(jobs) - len(left), len(jobs))
    if isinstance(sample, Recognizer):
        _run_networks(name, entry, material, jobs, left, store)
    else:
        for seed, split in tqdm(left, desc=name, unit="fold"):
            _run_classical(entry, material, seed, split, store)
    return [row for seed, split in jobs for row in store.read(seed, split.fold)]


class _Rows:
    """Files of rows; the folder's name hangs on all that decides them."""

    def __init__(
        self,
        folder: Path,
        name: str,
        entry: Entry,
        material: Material,
        splits: Sequence[protocols.Split],
    ) -> None:
        hidden: Any = {"note": True, "schedule": {"folds_at_once", "processes"}}
        shown = entry.model_dump_json(exclude=hidden)
        folds = [(s.train.tolist(), s.test.tolist()) for s in splits]
        text = json.dumps([shown, material.digest(), folds, *_weights(entry)])
        key = digest(text)[:12]
        self.folder, self.material = folder / f"{name}-{key}", material
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "entry.json").write_text(entry.model_dump_json(indent=1), encoding="utf-8")

    def _path(self, seed: int, fold: int) -> Path:
        return self.folder / f"seed{seed}-fold{fold:03d}.jsonl"

    def has(self, seed: int, fold: int) -> bool:
        return self._path(seed, fold).is_file()

    def write(
        self, seed: int, fold: int, test: protocols.Indices, p: NDArray[np.float64], seconds: float
    ) -> None:
        m = self.material
        lines = []
        for row, shares in zip(test, p, strict=True):
            prediction = Prediction(
                str(m.datasets[row]),
                str(m.subjects[row]),
                str(m.clips[row]),
                fold,
                seed,
                m.classes[m.labels[row]],
                m.classes[int(shares.argmax())],
                {c: round(float(s), 6) for c, s in zip(m.classes, shares, strict=True)},
                round(seconds / len(test), 6),
            )
            lines.append(json.dumps(asdict(prediction)))
        write_lines(self._path(seed, fold), lines)

    def read(self, seed: int, fold: int) -> list[Prediction]:
        lines = self._path(seed, fold).read_text(encoding="utf-8").splitlines()
        return [Prediction(**json.loads(line)) for line in lines]


def _weights(entry: Entry) -> list[str]:
    """Hashes of the weights in folders that options name: rows of other weights are other rows."""
    folders = [Path(v) for v in entry.options.values() if isinstance(v, str) and Path(v).is_dir()]
    files = [file for folder in folders for file in sorted(folder.glob("*.safetensors"))]
    return [file_digest(file) for file in files]


def _run_networks(
    name: str,
    entry: Entry,
    material: Material,
    jobs: Sequence[tuple[int, protocols.Split]],
    left: Sequence[tuple[int, protocols.Split]],
    store: _Rows,
) -> None:
    if not left:
        return
    if entry.schedule is None:
        raise UserError(f"model {name}: a network needs a schedule (epochs, learning_rate, ...)")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make = partial(_network, entry, len(material.classes))
    inputs = {n: torch.from_numpy(material.inputs[n]).to(device) for n in make().inputs}
    labels = torch.from_numpy(material.labels).to(device)
    whole = [Job(split.fold, seed, split.train, split.test) for seed, split in jobs]
    todo = [Job(split.fold, seed, split.train, split.test) for seed, split in left]
    mirror = _mirror if inputs.keys() == {"flow_uvs"} else None
    found = train_folds(make, todo, inputs, labels, entry.schedule, name, whole, mirror)
    started = time.perf_counter()
    with closing(found):
        for done, (job, p) in enumerate(found, 1):
            seconds = (time.perf_counter() - started) / done
            store.write(job.seed, job.fold, job.test, p, seconds)


def _mirror(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``flow_uvs`` of the mirrored clips: u changes its sign."""
    flipped = inputs["flow_uvs"].flip(-1)
    flipped[:, 0] *= -1
    return {"flow_uvs": flipped}


def _network(entry: Entry, classes: int) -> Recognizer:
    made = load_recognizer(entry.recognizer, classes, **entry.options)
    assert isinstance(made, Recognizer)
    return made


def _run_classical(
    entry: Entry, material: Material, seed: int, split: protocols.Split, store: _Rows
) -> None:
    started = time.perf_counter()
    options = dict(entry.options)
    if entry.seeded:
        options["seed"] = seed
    for option, values in entry.choices.items():
        scores = [
            _inner_score(entry, material, {**options, option: value}, split) for value in values
        ]
        options[option] = values[int(np.argmax(scores))]
    p = _fit_predict(entry, material, options, split.train, split.test)
    store.write(seed, split.fold, split.test, p, time.perf_counter() - started)


def _inner_score(
    entry: Entry, material: Material, options: dict[str, Any], split: protocols.Split
) -> float:
    """UF1 pooled over subject-wise folds of the training set."""
    labels, guesses = [], []
    people = np.char.add(np.char.add(material.datasets, "/"), material.subjects)
    for train, held in protocols.inner_folds(people, split.train, _INNER_FOLDS):
        p = _fit_predict(entry, material, options, train, held)
        labels += [material.classes[i] for i in material.labels[held]]
        guesses += [material.classes[i] for i in p.argmax(1)]
    return uf1(confusion_matrix(labels, guesses, material.classes))


def _fit_predict(
    entry: Entry,
    material: Material,
    options: dict[str, Any],
    train: protocols.Indices,
    test: protocols.Indices,
) -> NDArray[np.float64]:
    model = load_recognizer(entry.recognizer, len(material.classes), **options)
    assert not isinstance(model, Recognizer)
    classical: ClassicalRecognizer = model
    classical.fit(material.taken(train), material.labels[train])
    return classical.predict_proba(material.taken(test))
