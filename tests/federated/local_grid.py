"""A grid of Flower in one process, for its real strategy and client app; keeps what is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.app.error import Error
from flwr.clientapp import ClientApp
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

_SERVER, _RUN = 1, 7


def context_of(number: int) -> Context:
    """The state of node ``number``, counted from 0."""
    return Context(
        run_id=_RUN,
        node_id=100 + number,
        node_config={"partition-id": number},
        state=RecordDict(),
        run_config={},
    )


class LocalGrid(Grid):
    """Hands messages to an app and back, as bytes.

    Args:
        app: The app of every node.
        nodes: Number of nodes.

    Attributes:
        wire: Bytes of every message, both ways.
        contexts: State of each node.
        absent: Nodes that do not answer.
        changes: Node -> changes its replies.
    """

    def __init__(self, app: ClientApp, nodes: int) -> None:
        self.app = app
        # Flower sets these where it starts a process for a run.
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = _RUN, _SERVER, 1
        self.contexts = {100 + k: context_of(k) for k in range(nodes)}
        self.wire: list[bytes] = []
        self.absent: set[int] = set()
        self.changes: dict[int, Callable[[RecordDict], RecordDict]] = {}

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(self, *given: Any, **named: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Answer every message in turn."""
        return [r for message in messages if (r := self._answer(message)) is not None]

    def _answer(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        if node in self.absent:
            return None
        facts = message.metadata.__dict__
        facts["_run_id"], facts["_src_node_id"], facts["_message_id"] = _RUN, _SERVER, "m"
        message.content = self._sent(message.content)
        try:
            reply = self.app(message, self.contexts[node])
        except Exception as error:
            return Message(Error(code=2, reason=str(error)), reply_to=message)
        content = self.changes.get(node, lambda same: same)(reply.content)
        reply.content = self._sent(content)
        return reply

    def _sent(self, content: RecordDict) -> RecordDict:
        data = recorddict_to_proto(content).SerializeToString()
        self.wire.append(data)
        return recorddict_from_proto(RecordDictProto.FromString(data))
