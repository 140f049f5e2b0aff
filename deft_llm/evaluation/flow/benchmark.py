"""The tables of SRFlow on simulated pairs: EPE by displacement and place, and high-pass error.

Beside them stands what each flow is worth to recognition (``flow_recognition.py``).

Every pair shows a face that no network was trained on, from the other head where its file is at
hand. Classical estimators are tuned on training faces only. The bars are those of the issue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from deft_llm.config import Settings, load
from deft_llm.errors import UserError
from deft_llm.evaluation.flow.recognition import Estimate, RecognitionSets, recognition_uf1
from deft_llm.evaluation.tables import markdown
from deft_llm.flow_models.files import WEIGHTS
from deft_llm.flow_models.pairs import PairData, PairStore
from deft_llm.metrics.figures import Figure
from deft_llm.metrics.flow import BINS, FlowErrors, flow_errors
from deft_llm.motion.flow import flow_estimator
from deft_llm.resources import embedded
from deft_llm.simulator.ict_head.files import ict_file

logger = logging.getLogger(__name__)
Flow = NDArray[np.float32]
SMALL = "under_2px"  # the group that the bars are about
_COLUMNS = ("all", *BINS, SMALL, "inside", "boundary", "rate_1px")


class FlowBars(Settings):
    """What has to be reached; each is a ratio that may be at most so large.

    Attributes:
        of_best_classical: EPE of the network over that of the best classical estimator.
        of_zero_flow: EPE of the network over that of no flow.
        high_pass: High-pass energy of the error with all face losses over that without.
        epe_cost: EPE with all face losses over that without.
    """

    of_best_classical: float
    of_zero_flow: float
    high_pass: float
    epe_cost: float


class FlowBenchmark(Settings):
    """A file of ``eval/benchmarks`` with ``benchmark: srflow``.

    Attributes:
        benchmark: "srflow".
        tuning: Pairs of training faces, on which presets are chosen.
        test: Pairs that are scored.
        presets: Classical method -> parameters to choose from; the class's own are always tried.
        networks: Name -> folder of a trained network ("embedded": the package's); those that are
            missing are left out.
        recognition: Clips on which a classifier reads each flow; None leaves that column out.
        judged: Name of the network that the bars are about.
        plain: Name of the network without face losses.
        regularized: Name of the network with all of them.
        bars: Bars.
        cache: Where pairs are kept.
    """

    benchmark: str
    tuning: PairData
    test: PairData
    presets: dict[str, list[dict[str, Any]]]
    networks: dict[str, Path] = Field(default_factory=dict)
    recognition: RecognitionSets | None = None
    judged: str = "srflow"
    plain: str = "without"
    regularized: str = "all"
    bars: FlowBars
    cache: Path = Path("runs/benchmarks/srflow")


@dataclass(frozen=True)
class Pair:
    """Two images uint8 (H, W, 3), true flow (2, H, W) px, mask (H, W)."""

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    truth: Flow
    mask: NDArray[np.bool_]


def pairs_of(store: PairStore) -> Iterator[Pair]:
    """The pairs of a store that show any face."""
    for i in range(len(store)):
        row = store[i]
        first, second = (np.ascontiguousarray(im.transpose(1, 2, 0)) for im in row["images"])
        if row["mask"].any():
            truth = row["flow"].astype(np.float32)
            yield Pair(first, second, truth, row["mask"].astype(bool))


def score(estimate: Estimate, store: PairStore, name: str) -> FlowErrors:
    """Errors of an estimator over all pairs."""
    return score_fit(lambda pair: estimate(pair.first, pair.second), store, name)


def score_fit(fit: Callable[[Pair], Flow], store: PairStore, name: str) -> FlowErrors:
    """Errors of what may also see the truth, such as :func:`rigid_fit`."""
    pairs = tqdm(pairs_of(store), total=len(store), desc=name, unit="pair")
    return sum((flow_errors(fit(p), p.truth, p.mask) for p in pairs), FlowErrors())


def rigid_fit(pair: Pair) -> Flow:
    """The rotation and shift in the image plane that come nearest to the true flow.

    Least squares over the mask (Kabsch 1976): what no estimator of rigid motion can surpass.
    """
    height, width = pair.mask.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    every = np.stack([x.ravel(), y.ravel()], axis=1)
    inside = pair.mask.ravel()
    start = every[inside]
    end = start + pair.truth.reshape(2, -1).T[inside]
    u, _, vt = np.linalg.svd((start - start.mean(0)).T @ (end - end.mean(0)))
    turn = u @ np.diag([1, np.sign(np.linalg.det(u @ vt))]) @ vt
    moved = (every - start.mean(0)) @ turn + end.mean(0)
    return (moved - every).T.reshape(2, height, width).astype(np.float32)


def tune(
    method: str, choices: Sequence[dict[str, Any]], store: PairStore
) -> tuple[dict[str, Any], FlowErrors]:
    """The parameters with the least EPE below 2 px on training faces, and their errors."""
    tried = []
    for parameters in ({}, *choices):
        estimator = flow_estimator(method, **parameters)
        errors = score(estimator, store, f"tuning {method} {parameters or 'preset'}")
        tried.append((parameters, errors))
    return min(tried, key=lambda pair: pair[1].mean(SMALL))


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark.

    Args:
        path: A file of ``eval/benchmarks``.
        overrides: Dotted changes.

    Returns:
        The figures, and the table as Markdown.

    Raises:
        UserError: If tuning and test share faces, or a file is wrong.
    """
    bench = load(FlowBenchmark, path, overrides)
    test = with_head(bench.test)
    audit(bench.tuning, test)
    tuning_store, test_store = (
        PairStore.rendered(data, bench.cache / f"{name}-{data.head}")
        for name, data in (("tuning", bench.tuning), ("test", test))
    )
    estimators = _estimators(bench, tuning_store)
    rows = {
        "zero flow": score(
            lambda a, b: np.zeros((2, *a.shape[:2]), np.float32), test_store, "zero"
        ),
        "best rigid fit": score_fit(rigid_fit, test_store, "rigid"),
    }
    rows |= {name: score(one, test_store, name) for name, one in estimators.items()}
    read = {}
    if bench.recognition is not None:
        read = recognition_uf1(estimators, bench.recognition, bench.cache)
    return _figures(bench, rows, read), _table(rows, read, test.head, len(test_store))


def _estimators(bench: FlowBenchmark, tuning: PairStore) -> dict[str, Estimate]:
    """Classical methods, tuned, and the networks that are there."""
    found: dict[str, Estimate] = {}
    for method, choices in bench.presets.items():
        parameters, _ = tune(method, choices, tuning)
        logger.info("%s: %s", method, parameters or "its own preset")
        found[method] = flow_estimator(method, **parameters)
    for name, given in bench.networks.items():
        folder = embedded(given, WEIGHTS)
        if (folder / "model.safetensors").is_file():
            found[name] = flow_estimator("srflow", folder=folder)
        else:
            logger.warning("network %r is left out: no trained network in %s", name, folder)
    return found


def with_head(data: PairData) -> PairData:
    """The pairs with the file of their head, or with the own head where "ict" is not at hand."""
    if data.head != "ict" or data.head_file is not None:
        return data
    if (file := ict_file()) is not None:
        return data.model_copy(update={"head_file": file})
    logger.warning(
        "no file of the ICT head (set DEFT_ICT to it, or DEFT_DATA to the folder around "
        "ict_facekit/): tested on unseen faces of the own head instead, which is easier"
    )
    return data.model_copy(update={"head": "own"})


def audit(train: PairData, test: PairData) -> None:
    """Refuse a test whose faces were trained or tuned on.

    Raises:
        UserError: If the ranges of faces overlap.
    """
    apart = (
        train.head != test.head
        or train.first_identity + train.identities <= test.first_identity
        or test.first_identity + test.identities <= train.first_identity
    )
    if not apart:
        raise UserError(
            f"faces {train.first_identity} to {train.first_identity + train.identities - 1} of "
            f"head {train.head!r} are tuned on and test.first_identity {test.first_identity} "
            "lies among them; set the ranges apart"
        )


def _figures(
    bench: FlowBenchmark, rows: dict[str, FlowErrors], read: dict[str, float]
) -> list[Figure]:
    def mean(name: str, group: str = SMALL) -> float:
        return rows[name].mean(group) if name in rows else float("nan")

    def ratio(group: str) -> float:
        return mean(regularized, group) / mean(plain, group)

    bars, plain, regularized = bench.bars, bench.plain, bench.regularized
    best = min(mean(method) for method in bench.presets)
    return [
        Figure("zero_flow_epe", mean("zero flow")),
        Figure("best_classical_epe", best),
        Figure("srflow_epe", mean(bench.judged)),
        Figure("srflow_over_classical", mean(bench.judged) / best, bars.of_best_classical, False),
        Figure(
            "srflow_over_zero", mean(bench.judged) / mean("zero flow"), bars.of_zero_flow, False
        ),
        Figure("face_losses_high_pass", ratio("high_pass"), bars.high_pass, False),
        Figure("face_losses_noise", ratio("noise")),
        Figure("face_losses_epe", ratio(SMALL), bars.epe_cost, False),
        *(Figure(f"recognition_uf1_{name}", value) for name, value in read.items()),
    ]


def _table(rows: dict[str, FlowErrors], read: dict[str, float], head: str, pairs: int) -> str:
    cells = [
        {
            "flow": name,
            **{column: f"{errors.mean(column):.4f}" for column in _COLUMNS},
            "high-pass energy": f"{errors.high_pass_energy:.2e}",
            "high-pass RMS": f"{errors.high_pass_rms:.4f}",
            "noise energy": f"{errors.noise_energy:.2e}",
            "recognition UF1": f"{read[name]:.3f}" if name in read else "",
        }
        for name, errors in rows.items()
    ]
    title = f"{pairs} pairs of unseen faces, head {head!r}; EPE in px, energy in px²"
    return f"{title}\n\n{markdown(cells)}"
