"""Action units across corpora: F1 by hand, folds by dataset, and the rows that look at no clip."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_llm import protocols, resources
from deft_llm.clip import Prediction
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.evaluation.action_units.benchmark import AuBenchmark
from deft_llm.evaluation.action_units.models import au_clips
from deft_llm.evaluation.action_units.scores import AuCounts, gain, interval
from deft_llm.evaluation.benchmark import run, settings_of
from tests.evaluation.corpus_table import conftest as corpora

write, measured = corpora.write, corpora.measured  # fixtures


def rows(dataset: str, pattern: str) -> list[Prediction]:
    """ "+" hit, "f" false alarm, "m" miss, "." nothing; each clip of a subject of its own."""
    truth = {"+": "present", "m": "present", "f": "absent", ".": "absent"}
    named = {"+": "present", "f": "present", "m": "absent", ".": "absent"}
    return [
        Prediction(dataset, f"s{i}", f"c{i}", 0, 0, truth[k], named[k], {}, 0.0)
        for i, k in enumerate(pattern)
    ]


def test_f1_is_pooled_over_clips_then_averaged_over_units_then_datasets() -> None:
    found = AuCounts.of(
        {
            4: rows("casme2", "++mf..") + rows("samm", "+m"),
            12: rows("casme2", "+.....") + rows("samm", ".f"),
        }
    )
    f1 = found.f1()
    # AU4: 2 hits, 1 miss, 1 false alarm: 4 / 6. Nobody shows AU12 in SAMM.
    assert f1["casme2"] == pytest.approx([2 / 3, 1]) and f1["samm"][0] == pytest.approx(2 / 3)
    assert np.isnan(f1["samm"][1])
    assert found.mean() == pytest.approx(((2 / 3 + 1) / 2 + 2 / 3) / 2)
    own = interval([found])
    assert own.low <= own.value == pytest.approx(found.mean()) and own.value <= own.high
    assert str(gain([found], [found])) == "0.000 [0.000, 0.000]"


def test_a_dataset_where_nobody_shows_a_unit_is_left_out_of_the_mean() -> None:
    with_one = {4: rows("casme2", "++mf..")}
    found = AuCounts.of({4: with_one[4] + rows("smic", "...f")})
    assert np.isnan(found.means()["smic"])
    alone = AuCounts.of(with_one)
    assert found.mean() == alone.mean() and str(interval([found])) == str(interval([alone]))
    nobody = AuCounts.of({4: rows("smic", "...f")})
    assert np.isnan(nobody.mean()) and np.isnan(interval([nobody]).low)


CHANGES = ["aus=[4,12,15]", "models=[logistic_flow,deft_aus]", "workers=1"]


def test_one_dataset_is_left_out_at_a_time(
    tmp_path: Path, write: Any, measured: list[str], tiny_checkpoint: Path
) -> None:
    out = tmp_path / "out"
    given = {n: write(n, clips=6, seed=50 * i) for i, n in enumerate(("casme", "casme2", "samm"))}
    corpora_given = ", ".join(f"{name}: '{folder}'" for name, folder in given.items())
    options = [
        *(f"corpora={{{corpora_given}}}", f"output={out}", f"cache={tmp_path / 'cache'}", *CHANGES),
        f"entries.deft_aus.options.checkpoint={tiny_checkpoint}",
    ]
    figures, text = run(resources.benchmark("cd6me"), options)
    values = {figure.name: figure.value for figure in figures}
    assert set(values) == {
        f"{n}_f1" for n in ("logistic_flow", "deft_aus", "all_named", "constant")
    }
    assert "# Action units, leave one dataset out" in text and "gain over all named" in text
    # All named: the F1 of each unit follows from how many clips show it.
    with (out / "units.csv").open(encoding="utf-8") as file:
        table = {(r["model"], r["test set"]): r for r in csv.DictReader(file)}
    shares = _shares(text)
    for dataset, (clips, shown) in shares.items():
        for unit, count in shown.items():
            expected = f"{2 * count / (clips + count):.3f}" if count else ""
            assert table["all_named", dataset][unit] == expected
    assert len(list((out / "folds").glob("AU*/logistic_flow*/seed0-fold*.jsonl"))) == 3 * len(
        next(iter(shares.values()))[1]
    )
    assert "SSSNet" in text and "## Left out" in text and (out / "leaks.md").is_file()
    again, _ = run(out / "benchmark.yaml", [f"output={out}", "workers=1"])
    assert {f.name: f.value for f in again} == values


def _shares(text: str) -> dict[str, tuple[int, dict[str, int]]]:
    """Clips of each dataset, and how many of them show each unit, from the table."""
    lines = text.partition("## Clips that show a unit")[2].strip().splitlines()
    head = [cell.strip() for cell in lines[0].strip("|").split("|")]
    found = {}
    for line in lines[2:5]:
        cells = dict(zip(head, (c.strip() for c in line.strip("|").split("|")), strict=True))
        shown = {n: int(v) for n, v in cells.items() if n.startswith("AU")}
        found[cells["test set"]] = (int(cells["clips"]), shown)
    return found


def test_what_cannot_be_learned_or_scored_is_said(
    tmp_path: Path, write: Any, measured: list[str]
) -> None:
    places = [f"output={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}"]
    with pytest.raises(UserError, match=r"no folder; give it .* corpora\.casme="):
        run(resources.benchmark("cd6me"), [*places, *CHANGES])
    one = f"corpora={{casme2: '{write('casme2', clips=6)}'}}"
    _, text = run(
        resources.benchmark("cd6me"),
        [*places, one, "protocol=loso", "aus=[4,12,39]", "models=[logistic_flow]", "workers=1"],
    )
    assert "AU39: nobody shows it in the training clips of fold" in text
    with pytest.raises(UserError, match="none of the units 39 is learnable"):
        run(
            resources.benchmark("cd6me"),
            [*places, one, "protocol=loso", "aus=[39]", "models=[logistic_flow]", "workers=1"],
        )


def test_a_unit_that_all_clips_show_cannot_be_learned_either() -> None:
    aus = [("1", "4"), ("4",), ("1", "L4"), ("4",)]
    people = [f"s{i}" for i in range(4)]
    records = [
        ClipRecord(subject, subject, None, False, codes, dataset="a")
        for subject, codes in zip(people, aus, strict=True)
    ]
    clips = ClipDataset.of_arrays(records, {"flow": np.zeros((4, 1), np.float32)}, "a")
    made = au_clips(clips, [1, 4, 9], protocols.loso(clips.people))
    assert made.aus == (1,) and made.not_learned == {
        4: "every clip shows it in the training clips of fold a/s0",
        9: "nobody shows it in the training clips of fold a/s0",
    }


def test_a_network_without_an_entry_has_a_schedule() -> None:
    values = {**settings_of(resources.benchmark("cd6me")), "models": ["htnet"]}
    assert AuBenchmark.model_validate(values).entries["htnet"].schedule is not None
