"""What a run will cost, said before it starts: folds, seeds, and the time of a measured step."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.runs import EntryRun
from deft_llm.training.pace import duration

logger = logging.getLogger(__name__)


def tell_costs(tables: Iterable[tuple[str, dict[str, EntryRun], dict[str, str]]]) -> None:
    """Say what every model of every table will cost, and all of them.

    A model that cannot be run on these clips is said and moved to those that are not run.

    Args:
        tables: Title, runs by model, and models that are not run with the reason.
    """
    total, unknown = 0.0, list[str]()
    for title, runs, not_run in tables:
        for name, run in runs.items():
            try:
                cost = run.cost()
            except UserError as error:
                not_run[name] = str(error)
                continue
            about = "?" if cost.seconds is None else duration(cost.seconds)
            total += cost.seconds or 0.0
            if cost.seconds is None:
                unknown.append(name)
            seeds = len({seed for seed, _ in run.jobs})
            folds = len(run.jobs) // seeds
            logger.info(
                *("%s: %s: %d folds x %d %s, %s: %s", title, name, folds, seeds),
                *("seed" if seeds == 1 else "seeds", cost.measured, about),
            )
        for name, why in not_run.items():
            logger.warning("%s: %s is left out: %s", title, name, why)
    more = f", and {', '.join(dict.fromkeys(unknown))}" if unknown else ""
    logger.info("in all about %s%s; Ctrl-C stops, the same command goes on", duration(total), more)
