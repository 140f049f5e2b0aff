"""A vision-language model in the table of a corpus."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from deft_llm import resources
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from tests.evaluation.conftest import Server, said

from .conftest import WriteCorpus


def test_in_the_table_of_a_corpus(
    tmp_path: Path, server: Server, write: WriteCorpus, measured: list[str]
) -> None:
    """The share of answers that could not be read is shown; a dead endpoint is left out."""
    classes = iter(["negative", "Positive!", "hm"] * 20)
    server.reply = lambda _: (200, said(next(classes)))
    entry = "entries.vlm={{recognizer: vlm, options: {{model: m, endpoint: '{}', show: [{}]}}}}"
    options = [
        *(f"corpus={write('casme2')}", "models=[logistic_flow,vlm]", "schemes=[3]", "workers=1"),
        *(f"output={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}"),
    ]
    dead = entry.format("http://127.0.0.1:9/v1", "regions")
    _, text = run(resources.benchmark("casme2"), [*options, dead])
    assert "no row of vlm (http://127.0.0.1:9/v1/chat/completions: no answer of m" in text
    _, text = run(resources.benchmark("casme2"), [*options, entry.format(server.url, "regions")])
    rows = pd.read_parquet(tmp_path / "out" / "3" / "rows.parquet")
    unread = rows[(rows["model"] == "vlm") & (rows["predicted"] == "")]
    share = len(unread) / len(rows[rows["model"] == "vlm"])
    assert share > 0 and f"| {share:.1%} |" in text and "unread answers" in text
    with pytest.raises(UserError, match="unknown view 'film'"):
        run(resources.benchmark("casme2"), [*options, entry.format(server.url, "film")])
