"""Base of all benchmarks: settings, bars, and running a file of ``eval/benchmarks``.

A benchmark is a settings class with a ``measure`` method that returns numbers by name. Bars are
set in the file, under the same names, and are compared with the numbers only here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from deft_llm import registry, resources
from deft_llm.config import Settings, apply_overrides, read_yaml, validate_settings
from deft_llm.errors import UserError, did_you_mean
from deft_llm.files import check_folder
from deft_llm.metrics.figures import Figure

# The ``benchmark`` key of a file -> its class, imported when asked for.
BENCHMARKS: dict[str, str] = {
    "simulated": "deft_llm.evaluation.explanation.simulated:SimulatedBenchmark",
    "srflow": "deft_llm.evaluation.flow.benchmark:FlowBenchmark",
    "dual_phase": "deft_llm.evaluation.recognition.dual_phase:DualPhaseBenchmark",
    "landmarks": "deft_llm.evaluation.landmarks.benchmark:LandmarkBenchmark",
    "corpora": "deft_llm.evaluation.corpus_table.benchmark:CorpusBenchmark",
    "action_units": "deft_llm.evaluation.action_units.benchmark:AuBenchmark",
    "recognition": "deft_llm.evaluation.recognition.benchmark:RecognitionBenchmark",
    "federated": "deft_llm.evaluation.federated.benchmark:FederatedBenchmark",
    "mol_heads": "deft_llm.evaluation.recognition.mol_heads:MolHeadsBenchmark",
    "flow_aus": "deft_llm.evaluation.explanation.flow_aus:FlowAusBenchmark",
    "unimer": "deft_llm.evaluation.unimer.benchmark:UnimerBenchmark",
    "robustness": "deft_llm.evaluation.robustness.benchmark:RobustnessBenchmark",
    "spotting": "deft_llm.evaluation.spotting.benchmark:SpottingBenchmark",
    "spotting_loso": "deft_llm.evaluation.spotting.loso:SpottingLoso",
    "chat": "deft_llm.evaluation.chat.benchmark:ChatBenchmark",
    "mevqa": "deft_llm.evaluation.mevqa.benchmark:MevqaBenchmark",
    "warped": "deft_llm.evaluation.warped.benchmark:WarpedBenchmark",
    "facet": "deft_llm.evaluation.facet.benchmark:FacetBenchmark",
    "facet_folds": "deft_llm.evaluation.facet.folds:FacetFolds",
    "gaze": "deft_llm.evaluation.gaze.benchmark:GazeBenchmark",
    "motion_reward": "deft_llm.evaluation.reward.benchmark:MotionRewardBenchmark",
}


class Bar(Settings):
    """The bar of one figure: ``{least: 0.8}``, or ``{most: 0.25, of: other_figure}``.

    Attributes:
        least: Minimum of the figure.
        most: Maximum of the figure; exactly one of the two is given.
        of: Another figure of the benchmark; ``least`` or ``most`` is then a multiple of it.
    """

    least: float | None = None
    most: float | None = None
    of: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.least is None) == (self.most is None):
            raise ValueError("expected either least or most")
        return self

    def figure(self, name: str, value: float, others: Mapping[str, float]) -> Figure:
        """The figure with this bar; one whose ``of`` is not among the others is missed."""
        above = self.least is not None
        limit = self.least if above else self.most
        assert limit is not None
        unit = others.get(self.of, float("nan")) if self.of else 1.0
        return Figure(name, value, limit * unit, above)


class Benchmark(Settings):
    """A file of ``eval/benchmarks``.

    Attributes:
        benchmark: A name of ``BENCHMARKS``.
        bars: Figure -> its bar; a figure without one is only reported.
        output: Folder for measured clips, unfinished runs, predictions and tables.
    """

    benchmark: str
    bars: dict[str, Bar] = {}
    output: Path = Path("runs/benchmarks")

    @abstractmethod
    def figure_names(self) -> Collection[str]:
        """All figures that bars may name, including those of parts that are skipped."""

    @abstractmethod
    def measure(self) -> tuple[list[Figure], str]:
        """Run the benchmark.

        Returns:
            The figures, with their bars, and tables as Markdown.

        Raises:
            UserError: If data or a model is missing, or training and test share a face or a clip.
        """

    def with_bars(self, values: Mapping[str, float]) -> list[Figure]:
        """Turn numbers by name into figures with the bars of this benchmark."""
        return [
            self.bars[name].figure(name, value, values)
            if name in self.bars
            else Figure(name, value)
            for name, value in values.items()
        ]


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark that a file describes.

    A file may begin with the settings of another (``like: casme2``), whole keys of which it
    replaces.

    Args:
        path: A file of ``eval/benchmarks``.
        overrides: Dotted changes.

    Returns:
        The figures, and tables as Markdown.

    Raises:
        UserError: If the file is wrong, or as for :meth:`Benchmark.measure`.
    """
    values = settings_of(path)
    kind = str(values.get("benchmark"))
    settings: type[Benchmark] = registry.resolve(BENCHMARKS, kind, f"{path}: benchmark")
    service = validate_settings(settings, apply_overrides(values, overrides), str(path))
    _require_figures(service, path)
    check_folder("output", service.output)
    return service.measure()


def settings_of(path: Path) -> dict[str, Any]:
    """The settings of a file, on top of those of the benchmark that it names as ``like``."""
    values = read_yaml(path)
    like = values.pop("like", None)
    return values if like is None else {**settings_of(resources.benchmark(like)), **values}


def _require_figures(service: Benchmark, path: Path) -> None:
    """Fail before hours of measuring if a bar names an unknown figure."""
    known = service.figure_names()
    for name, bar in service.bars.items():
        for figure in (name, bar.of or name):
            if figure not in known:
                near = (
                    did_you_mean(figure, known, cutoff=0.5)
                    or f"; expected one of {', '.join(known)}"
                )
                raise UserError(f"{path}: bars: no figure {figure!r}{near}")
