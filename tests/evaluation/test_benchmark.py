"""What every benchmark shares: bars, the driver, and the script that runs a file."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from deft_llm import registry
from deft_llm.config import validate_settings
from deft_llm.errors import UserError
from deft_llm.evaluation import benchmark as benchmarks
from deft_llm.evaluation.benchmark import Bar, Benchmark
from deft_llm.metrics.figures import Figure

ROOT = Path(__file__).resolve().parents[2]
# The file of validation faces is no benchmark: it names faces that no benchmark may test on.
FILES = sorted(
    set((ROOT / "eval" / "benchmarks").glob("*.yaml")) - {ROOT / "eval/benchmarks/calibration.yaml"}
)


class Numbers(Benchmark):
    """A benchmark of two numbers."""

    def figure_names(self) -> list[str]:
        return ["uf1", "ceiling"]

    def measure(self) -> tuple[list[Figure], str]:
        return self.with_bars({"uf1": 0.5, "ceiling": 0.8}), "| a table |"


@pytest.fixture
def numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(benchmarks.BENCHMARKS, "numbers", f"{__name__}:Numbers")
    monkeypatch.setattr(registry.importlib, "import_module", lambda _: sys.modules[__name__])
    path = tmp_path / "numbers.yaml"
    path.write_text("benchmark: numbers", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("bar", "limit", "above", "reached"),
    [
        ("{least: 0.5}", 0.5, True, True),
        ("{most: 0.4}", 0.4, False, False),
        ("{least: 0.9, of: ceiling}", 0.72, True, False),
        ("{most: 0.7, of: ceiling}", 0.56, False, True),
    ],
)
def test_a_bar_is_least_or_most_or_a_multiple_of_another_figure(
    numbers: Path, bar: str, limit: float, above: bool, reached: bool
) -> None:
    figures, _ = benchmarks.run(numbers, [f"bars.uf1={bar}"])
    assert [(f.name, f.value) for f in figures] == [("uf1", 0.5), ("ceiling", 0.8)]
    assert figures[0].bar == pytest.approx(limit)
    assert (figures[0].above, figures[0].reached) == (above, reached)
    assert figures[1].bar is None


@pytest.mark.parametrize(
    ("bars", "word"),
    [
        ("bars.uf2={least: 1}", "bars: no figure 'uf2'; did you mean 'uf1'"),
        ("bars.uf1={least: 1, of: ceilling}", "did you mean 'ceiling'"),
        ("bars.uf1={least: 1, most: 2}", "bars.uf1: .*expected either least or most"),
        ("bars.uf1={}", "bars.uf1: .*expected either least or most"),
        ("bars.uf1={leest: 1}", "leest"),
        ("bars.uf1=0.9", "bars.uf1: .*got 0.9"),
        ("cache=here", "unknown key 'cache'; expected one of benchmark, bars, output"),
    ],
)
def test_a_wrong_bar_is_named_before_anything_is_measured(
    numbers: Path, monkeypatch: pytest.MonkeyPatch, bars: str, word: str
) -> None:
    monkeypatch.setattr(Numbers, "measure", lambda self: pytest.fail("measured"))
    with pytest.raises(UserError, match=word) as caught:
        benchmarks.run(numbers, [bars])
    assert str(numbers) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_pinned_file_is_valid_and_its_bars_name_figures(path: Path) -> None:
    values = benchmarks.settings_of(path)
    settings = registry.resolve(benchmarks.BENCHMARKS, values["benchmark"], "benchmark")
    benchmark = validate_settings(settings, values, str(path))
    benchmarks._require_figures(benchmark, path)
    assert all(isinstance(bar, Bar) for bar in benchmark.bars.values())


# ---------------------------------------------------------------------------- the script


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("benchmark: [simulated\n", "not readable as YAML"),
        ("benchmark: real\n", "expected one of simulated"),
        ("benchmark: [simulated]\n", "expected one of simulated"),
        ("- simulated\n", "mapping"),
    ],
)
def test_wrong_file_is_named(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "benchmark.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=word) as caught:
        benchmarks.run(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_script_answers_a_bad_file_with_status_2(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.yaml"
    path.write_text("benchmark: [simulated\n", encoding="utf-8")
    command = [sys.executable, str(ROOT / "eval" / "run.py"), str(path), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "benchmark.yaml" in done.stderr


@pytest.mark.parametrize(
    ("value", "flags", "status"), [(0.9, ["--check"], 0), (0.8, [], 0), (0.8, ["--check"], 1)]
)
def test_script_checks_bars(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: float,
    flags: list[str],
    status: int,
) -> None:
    figures = [Figure("uf1", value, 0.85)]
    monkeypatch.setattr(benchmarks, "run", lambda *_: (figures, "| a table |"))
    monkeypatch.setattr(sys, "argv", ["run.py", str(FILES[0]), *flags])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "eval" / "run.py"), run_name="__main__")
    assert ended.value.code == status
    assert capsys.readouterr().out.splitlines()[0] == "| a table |"
