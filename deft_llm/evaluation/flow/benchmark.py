"""SRFlow on simulated pairs: EPE by displacement and position, high-pass error, recognition.

The recognition column is the UF1 of a classifier on each estimator's flow (``recognition.py``).

Every pair shows a face that no network was trained on, from the other head if its file is
available. Classical estimators are tuned on training faces only.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pydantic import Field

from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.flow.estimators import (
    SMALL,
    Estimate,
    errors_of,
    errors_of_fit,
    rigid_fit,
    tune,
    zero_flow,
)
from deft_llm.evaluation.flow.recognition import RecognitionSets, recognition_uf1
from deft_llm.evaluation.tables import markdown
from deft_llm.flow_models.files import WEIGHTS
from deft_llm.flow_models.pairs import PairData, PairStore
from deft_llm.leaks import Ids, require_disjoint
from deft_llm.metrics.figures import Figure
from deft_llm.metrics.flow import BINS, FlowErrors
from deft_llm.motion.flow import flow_estimator
from deft_llm.resources import embedded
from deft_llm.simulator.ict_head.files import ict_file

logger = logging.getLogger(__name__)
_COLUMNS = ("all", *BINS, SMALL, "inside", "boundary", "rate_1px")


class FlowBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: srflow``.

    Attributes:
        tuning: Pairs of training faces, on which presets are chosen.
        test: Test pairs.
        presets: Classical method -> parameters to choose from; its defaults are always tried.
        networks: Name -> folder of a trained network; missing ones are skipped.
        recognition: Clips for the recognition column; None leaves it out.
        judged: Name of the network that is compared with the classical methods.
        plain: Name of the network without face losses.
        regularized: Name of the network with all face losses.
    """

    tuning: PairData
    test: PairData
    presets: dict[str, list[dict[str, Any]]] = Field(min_length=1)
    networks: dict[str, Path] = Field(default_factory=dict)
    recognition: RecognitionSets | None = None
    judged: str = "srflow"
    plain: str = "without"
    regularized: str = "all"
    output: Path = Path("runs/benchmarks/srflow")

    def figure_names(self) -> list[str]:
        """See the base."""
        return [
            *("zero_flow_epe", "best_classical_epe", "srflow_epe"),
            *("srflow_over_classical", "srflow_over_zero"),
            *("face_losses_high_pass", "face_losses_noise", "face_losses_epe"),
            *(f"recognition_uf1_{name}" for name in (*self.presets, *self.networks)),
        ]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        test = with_head(self.test)
        require_unseen_faces(self.tuning, test)
        tuning_store, test_store = (
            PairStore.rendered(data, self.output / f"{name}-{data.head}")
            for name, data in (("tuning", self.tuning), ("test", test))
        )
        estimators = self._estimators(tuning_store)
        # Two reference rows: no motion, and the best rigid motion given the true flow.
        rows = {
            "zero flow": errors_of(zero_flow, test_store, "zero"),
            "best rigid fit": errors_of_fit(rigid_fit, test_store, "rigid"),
        }
        rows |= {name: errors_of(one, test_store, name) for name, one in estimators.items()}
        uf1: dict[str, float] = {}
        if self.recognition is not None:
            uf1 = recognition_uf1(estimators, self.recognition, self.output)
        values = self._values(rows) | {f"recognition_uf1_{n}": value for n, value in uf1.items()}
        return self.with_bars(values), _table(rows, uf1, test.head, len(test_store))

    def _estimators(self, tuning: PairStore) -> dict[str, Estimate]:
        """Tuned classical methods, and the networks that were found."""
        found: dict[str, Estimate] = {}
        for method, choices in self.presets.items():
            parameters, _ = tune(method, choices, tuning)
            logger.info("%s: %s", method, parameters or "its own preset")
            found[method] = flow_estimator(method, **parameters)
        for name, given in self.networks.items():
            folder = embedded(given, WEIGHTS)
            if (folder / "model.safetensors").is_file():
                found[name] = flow_estimator("srflow", folder=folder)
            else:
                logger.warning("network %r is left out: no trained network in %s", name, folder)
        return found

    def _values(self, rows: dict[str, FlowErrors]) -> dict[str, float]:
        # NaN for a network that was not found: it goes into the figures and meets no bar.
        def mean(name: str, group: str = SMALL) -> float:
            return rows[name].mean(group) if name in rows else float("nan")

        def of_face_losses(group: str) -> float:
            return mean(self.regularized, group) / mean(self.plain, group)

        judged, best = mean(self.judged), min(mean(method) for method in self.presets)
        return {
            "zero_flow_epe": mean("zero flow"),
            "best_classical_epe": best,
            "srflow_epe": judged,
            "srflow_over_classical": judged / best,
            "srflow_over_zero": judged / mean("zero flow"),
            "face_losses_high_pass": of_face_losses("high_pass"),
            "face_losses_noise": of_face_losses("noise"),
            "face_losses_epe": of_face_losses(SMALL),
        }


def with_head(data: PairData) -> PairData:
    """The pairs with their head's file filled in, or with the own head if "ict" is missing."""
    if data.head != "ict" or data.head_file is not None:
        return data
    if (file := ict_file()) is not None:
        return data.model_copy(update={"head_file": file})
    logger.warning(
        "no file of the ICT head (set DEFT_ICT to it, or DEFT_DATA to the folder around "
        "ict_facekit/): tested on unseen faces of the own head instead, which is easier"
    )
    return data.model_copy(update={"head": "own"})


def require_unseen_faces(tuning: PairData, test: PairData) -> None:
    """Refuse a test set with faces that presets are tuned on.

    Raises:
        UserError: If the ranges of faces overlap.
    """
    require_disjoint(
        _faces(tuning),
        _faces(test),
        "pairs for tuning and for the test",
        "set the ranges apart: test.first_identity, or fewer identities",
    )


def _faces(data: PairData) -> Ids:
    identities = range(data.first_identity, data.first_identity + data.identities)
    # With the head in front: the same number is another face on another head.
    return {"subject": [f"{data.head}{identity:06d}" for identity in identities]}


def _table(rows: dict[str, FlowErrors], uf1: dict[str, float], head: str, pairs: int) -> str:
    cells = [
        {
            "flow": name,
            **{column: f"{errors.mean(column):.4f}" for column in _COLUMNS},
            "high-pass energy": f"{errors.high_pass_energy:.2e}",
            "high-pass RMS": f"{errors.high_pass_rms:.4f}",
            "noise energy": f"{errors.noise_energy:.2e}",
            "recognition UF1": uf1.get(name, ""),
        }
        for name, errors in rows.items()
    ]
    title = f"{pairs} pairs of unseen faces, head {head!r}; EPE in px, energy in px²"
    return f"{title}\n\n{markdown(cells)}"
