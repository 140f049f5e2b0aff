"""FACET-VLM on simulated scans of people never seen: expressions, other heads, texts, ablations."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.facet.scores import right, say, several_labels, zero_shot
from deft_llm.evaluation.tables import markdown
from deft_llm.facet.files import WEIGHTS, LoadedFacet, load_facet
from deft_llm.facet.texts import class_vectors, default_prompts
from deft_llm.facet.view_sets import ViewData
from deft_llm.facet.view_store import ViewStore
from deft_llm.metrics.figures import Figure
from deft_llm.resources import EMBEDDED
from deft_llm.simulator.ict_head.files import ict_file

logger = logging.getLogger(__name__)
_LEVELS = {1: "lowest", 4: "full"}
PUBLISHED = (
    ("FACET-VLM (Neurocomputing 657, 2025)", "BU-4DFE", "99.41"),
    ("CCDN (arXiv 1905.02319)", "BU-4DFE", "96.5"),
)
"""System, dataset, accuracy in per cent, as their papers say."""


class FacetBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: facet``.

    A part whose network or head is missing is skipped with a warning.

    Attributes:
        scans: Folder of the network for 3D; "embedded" is the one in the package.
        sequences: That for 4D.
        micro: That for micro-expressions in 4D.
        one_head: Head -> folder of a network that was trained on it alone.
        ablations: Name -> folder of a network that lacks a part, or has other views or prompts.
        test: Scans of unseen people at all intensities.
        clean: Scans by a perfect scanner.
        hard: The same faces with the noise and holes of the issue's worst scanner.
        unseen: Scans of combinations of units that no network was shown.
        seen: Scans of combinations that it was shown.
        test_sequences: Sequences of unseen people.
        test_micro: Micro-expressions of unseen people.
    """

    scans: Path = Path(EMBEDDED)
    sequences: Path = Path(EMBEDDED)
    micro: Path = Path(EMBEDDED)
    one_head: dict[str, Path] = Field(default_factory=dict)
    ablations: dict[str, Path] = Field(default_factory=dict)
    test: ViewData
    clean: ViewData
    hard: ViewData
    unseen: ViewData
    seen: ViewData
    test_sequences: ViewData
    test_micro: ViewData
    output: Path = Path("runs/benchmarks/facet")

    def figure_names(self) -> list[str]:
        """See the base."""
        return [
            *(
                "six_full",
                "six_lowest",
                "six_all",
                "lost_without_a_view",
                "lost_by_noise_and_holes",
            ),
            *("own_to_ict_full", "ict_to_own_full", "sequences_accuracy"),
            *("micro_uf1", "micro_uar"),
            *("zero_shot_unseen", "zero_shot_harmonic", "zero_shot_joint_unseen"),
            *("zero_shot_joint_seen", "zero_shot_shuffled"),
        ]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        values: dict[str, float] = {}
        tables: list[str] = []
        test = self._store("test", self.test)
        if (network := self._network("scans", self.scans)) is not None and test is not None:
            found, table = self._expressions(network, test)
            values |= found | self._worst_scanner(network) | self._texts(network)
            tables.append(table)
        for head, folder in self.one_head.items():
            values |= self._other_head(head, folder, test)
        values |= self._in_4d()
        if test is not None and (rows := self._ablations(test)):
            tables.append("Ablations, accuracy\n\n" + markdown(rows))
        tables.append(_published_table(values))
        return self.with_bars(values), "\n\n".join(filter(None, tables))

    def _expressions(self, network: LoadedFacet, test: ViewStore) -> tuple[dict[str, float], str]:
        """Accuracy at each intensity, and what a missing view costs."""
        whole = right(say(network, test), test)
        values = {"six_all": float(whole.mean())}
        rows = []
        for level in range(1, 5):
            shown = test.level == level
            row = {"intensity": str(level), "all views": _share(whole[shown])}
            if level in _LEVELS and shown.any():
                values[f"six_{_LEVELS[level]}"] = float(whole[shown].mean())
            rows.append(row)
        lost = []
        for yaw in network.network.config.yaws:
            without = right(say(network, test, missing=(yaw,)), test)
            lost.append(100 * (float(whole.mean()) - float(without.mean())))  # percentage points
            for row, level in zip(rows, range(1, 5), strict=True):
                row[f"without {yaw:+g}°"] = _share(without[test.level == level])
        # The view that is missed most.
        values["lost_without_a_view"] = max(lost)
        return values, "Six expressions, people never seen\n\n" + markdown(rows)

    def _worst_scanner(self, network: LoadedFacet) -> dict[str, float]:
        clean, hard = self._store("clean", self.clean), self._store("hard", self.hard)
        if clean is None or hard is None:
            return {}
        scores = [float(right(say(network, store), store).mean()) for store in (clean, hard)]
        return {"lost_by_noise_and_holes": 100 * (scores[0] - scores[1])}  # percentage points

    def _texts(self, network: LoadedFacet) -> dict[str, float]:
        unseen, seen = self._store("unseen", self.unseen), self._store("seen", self.seen)
        if unseen is None or seen is None:
            return {}
        prompts = [
            class_vectors(default_prompts(store.data.classes), network.texts)
            for store in (unseen, seen)
        ]
        scores = zero_shot(network, unseen, seen, (prompts[0], prompts[1]))
        return {f"zero_shot_{name}": value for name, value in scores.items()}

    def _other_head(self, head: str, folder: Path, test: ViewStore | None) -> dict[str, float]:
        """Accuracy at full intensity on the head that a network was not trained on."""
        network = self._network(f"one_head.{head}", folder)
        others = [name for name in self.test.heads if name != head]
        if network is None or test is None or len(others) != 1:
            return {}
        shown = test.of_heads(others) & (test.level == 4)
        hit = right(say(network, test), test)
        return {f"{head}_to_{others[0]}_full": float(hit[shown].mean())}

    def _in_4d(self) -> dict[str, float]:
        values: dict[str, float] = {}
        if (network := self._network("sequences", self.sequences)) is not None:
            store = self._store("test_sequences", self.test_sequences)
            if store is not None:
                hit = right(say(network, store), store)
                values["sequences_accuracy"] = float(hit.mean())
        if (network := self._network("micro", self.micro)) is not None:
            store = self._store("test_micro", self.test_micro)
            if store is not None:
                scores = several_labels(say(network, store), store.label.astype(bool))
                values |= {f"micro_{name}": value for name, value in scores.items()}
        return values

    def _ablations(self, test: ViewStore) -> list[dict[str, str]]:
        """A row for each network: accuracy in all and at each intensity; of texts shuffled."""
        rows = []
        for name, folder in self.ablations.items():
            if (network := self._network(f"ablations.{name}", folder)) is None:
                continue
            hit = right(say(network, test), test)
            of_text = say(
                network, test, class_vectors(network.network.config.prompts, network.texts)
            )
            # Shuffled texts would give the same columns in another order.
            rng = np.random.default_rng(0)
            orders = [rng.permutation(of_text.shape[1]) for _ in range(50)]
            truth = test.label.argmax(axis=1)
            shuffled = np.mean(
                [(order[of_text.argmax(axis=1)] == truth).mean() for order in orders]
            )
            by_level = {
                f"intensity {level}": _share(hit[test.level == level]) for level in range(1, 5)
            }
            rows.append(
                {
                    **{"network": name, "all": f"{hit.mean():.3f}"},
                    **by_level,
                    "by text alone": f"{right(of_text, test).mean():.3f}",
                    "texts shuffled": f"{shuffled:.3f}",
                }
            )
        return rows

    def _network(self, name: str, folder: Path) -> LoadedFacet | None:
        """A network; None, with a warning, if it was not trained."""
        if str(folder) == EMBEDDED:
            folder = WEIGHTS / name
        path = folder / "final" if (folder / "final").is_dir() else folder
        if not (path / "model.safetensors").is_file():
            logger.warning("%s is left out: no trained network in %s", name, folder)
            return None
        return load_facet(path)

    def _store(self, name: str, data: ViewData) -> ViewStore | None:
        """The scans of a set; None, with a warning, if the file of a head is missing."""
        if "ict" in data.heads and ict_file() is None:
            logger.warning(
                "%s is left out: no file of the ICT head; set DEFT_ICT to it, or DEFT_DATA to the "
                "folder around ict_facekit/",
                name,
            )
            return None
        return ViewStore.rendered(data, self.output / name)


def _share(hit: NDArray[np.bool_]) -> str:
    """The share of hits in words; a small set may have no scan of an intensity."""
    return f"{hit.mean():.3f}" if len(hit) else "-"


def _published_table(values: dict[str, float]) -> str:
    rows = [
        {"system": system, "data": data, "accuracy, %": number}
        for system, data, number in PUBLISHED
    ]
    if "sequences_accuracy" in values:
        ours = f"{100 * values['sequences_accuracy']:.2f}"
        rows.append({"system": "ours", "data": "simulated 4D, other data", "accuracy, %": ours})
    return "Beside what papers say of BU-4DFE; ours is measured on other data\n\n" + markdown(rows)
