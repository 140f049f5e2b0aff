"""What a message may hold, and how it is written and read.

Everything that goes over the wire is listed here. A message that holds anything else is refused on
the side that would send it and on the side that gets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.federated.checks import Update, other_classes
from deft_llm.federated.client import Order, SiteScores
from deft_llm.federated.rules import Arrays

# The names that Flower's FedAvg looks for; it adds "server-round" to an order by itself.
ARRAYS, CONFIG, METRICS, WEIGHT = "arrays", "config", "metrics", "num-examples"
#: Kind of message -> record -> its keys; the arrays are the exchanged weights, by their names.
ALLOWED: dict[str, dict[str, frozenset[str]]] = {
    "order": {
        ARRAYS: frozenset(),
        CONFIG: frozenset({"round", "clips", "included", "server-round"}),
    },
    "update": {
        ARRAYS: frozenset(),
        METRICS: frozenset({WEIGHT, "loss", "epsilon"}),
        CONFIG: frozenset({"site", "classes"}),
    },
    "scores": {
        METRICS: frozenset({WEIGHT, "counts", "membership-auc"}),
        CONFIG: frozenset({"site", "classes"}),
    },
}


def require_allowed(content: RecordDict, kind: str) -> RecordDict:
    """The content of a message, if it holds nothing but what its kind may hold.

    Args:
        content: Records by name.
        kind: A key of ``ALLOWED``.

    Raises:
        UserError: If a record or a key is not on the list, or an array is no float32.
    """
    records = ALLOWED[kind]
    for name, record in content.items():
        if name not in records:
            raise UserError(_refusal(kind, f"record {name!r}", records))
        if isinstance(record, ArrayRecord):
            if strange := [n for n, array in record.items() if array.dtype != "float32"]:
                raise UserError(_refusal(kind, f"array {strange[0]!r} not of float32", records))
        elif more := set(record) - records[name]:
            raise UserError(_refusal(kind, f"{name} {min(more)!r}", records))
    return content


def _refusal(kind: str, what: str, records: Mapping[str, frozenset[str]]) -> str:
    known = ", ".join(f"{name} ({', '.join(sorted(keys))})" for name, keys in records.items())
    return f"message {kind}: {what} may not be sent; expected {known}"


def arrays_of(state: Mapping[str, NDArray[np.float32]]) -> ArrayRecord:
    """Weights as a record."""
    return ArrayRecord({name: Array(np.ascontiguousarray(x)) for name, x in state.items()})


def state_of(record: ArrayRecord) -> Arrays:
    """Weights of a record."""
    return {name: array.numpy() for name, array in record.items()}


def order_config(order: Order) -> ConfigRecord:
    """What an order says besides the weights."""
    return ConfigRecord(
        {"round": order.number, "clips": order.clips, "included": list(order.included)}
    )


def read_order(content: RecordDict) -> Order:
    """The order in a message.

    Raises:
        UserError: If the message holds what it may not.
    """
    require_allowed(content, "order")
    config: Any = content[CONFIG]
    arrays: Any = content[ARRAYS]
    included = tuple(config.get("included", ()))
    return Order(config["round"], state_of(arrays), config["clips"], included)


def update_content(update: Update) -> RecordDict:
    """The content of the reply to a round of training."""
    metrics = {WEIGHT: update.clips, "loss": update.loss, "epsilon": update.epsilon}
    return require_allowed(
        RecordDict(
            {
                ARRAYS: arrays_of(update.state),
                METRICS: MetricRecord(metrics),
                CONFIG: _signed(update.site, update.classes),
            }
        ),
        "update",
    )


def read_update(content: RecordDict) -> Update:
    """The update in a message.

    Raises:
        UserError: If the message holds what it may not, or lacks what it needs.
    """
    require_allowed(content, "update")
    try:
        arrays, metrics, config = (content[name] for name in (ARRAYS, METRICS, CONFIG))
        return Update(
            site=str(config["site"]),
            state=state_of(arrays),
            clips=metrics[WEIGHT],
            loss=float(metrics["loss"]),
            classes=tuple(config["classes"]),
            epsilon=float(metrics["epsilon"]),
        )
    except KeyError as error:
        raise UserError(f"message update: no {error}; use the same version everywhere") from None


def scores_content(scores: SiteScores, classes: tuple[str, ...]) -> RecordDict:
    """The content of the reply to a request for scores."""
    counts = scores.counts
    metrics = {
        WEIGHT: int(counts.sum()),
        "counts": [int(n) for n in counts.ravel()],  # a record of metrics holds no arrays
        "membership-auc": float(scores.membership_auc),
    }
    config = _signed(scores.site, classes)
    return require_allowed(RecordDict({METRICS: MetricRecord(metrics), CONFIG: config}), "scores")


def read_scores(content: RecordDict, classes: Sequence[str]) -> SiteScores:
    """The scores in a message.

    Args:
        content: Its records.
        classes: Classes of the federation: counts of others cannot be added to its own.

    Raises:
        UserError: If the message holds what it may not, lacks what it needs, or has counts of other
            classes.
    """
    require_allowed(content, "scores")
    try:
        metrics: Any = content[METRICS]
        config: Any = content[CONFIG]
        site, found = str(config["site"]), config["classes"]
        counts, auc = np.array(metrics["counts"], np.int64), float(metrics["membership-auc"])
    except KeyError as error:
        raise UserError(f"message scores: no {error}; use the same version everywhere") from None
    if said := other_classes(found, classes):
        raise UserError(said)
    wanted = (len(classes), len(classes) + 1)  # the last column: without an answer
    if counts.size != wanted[0] * wanted[1]:
        raise UserError(f"{counts.size} counts of {len(classes)} classes; expected {wanted}")
    counts = counts.reshape(wanted)
    return SiteScores(site, counts, auc)


def _signed(site: str, classes: tuple[str, ...]) -> ConfigRecord:
    return ConfigRecord({"site": site, "classes": list(classes)})
