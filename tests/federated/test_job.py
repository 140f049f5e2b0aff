"""What a process of a deployed federation works on, and which folder is whose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deft_llm.errors import UserError
from deft_llm.federated.flower.job import Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"output": "run", "sites": {"a": "a", "b": "b"}}))
    return Job(str(path), (), "p_fedprox", str(tmp_path / "kept"), site="a")


def test_rules_keep_apart_what_they_leave(job: Job) -> None:
    # A client of another rule took what the first one had left for its own: it went on from
    # weights of that rule, or ended at once as if its last round were done.
    job.claim()
    second = replace(job, rule="fedavg")
    second.claim()
    assert job.kept != second.kept
    assert {job.kept.parent, second.kept.parent} == {Path(job.folder)}


def test_a_folder_is_of_one_site(job: Job) -> None:
    job.claim()
    job.claim()
    with pytest.raises(UserError, match="holds what stays at site a; give site b a folder of its"):
        replace(job, site="b").claim()
