"""A server that answers OpenAI's chat API: a clip and questions in, answers with evidence out.

Servers such as vLLM do not know the architecture. This one serves one model, one request at a time,
within the demo's limits. It opens no address and no path that a client names: clips come as uploads
or inside the request. Needs the extra ``serve``.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from deft_llm.service.chat_request import MODEL, ChatRequest, conversation_of
from deft_llm.service.clip_service import ClipService
from deft_llm.service.clip_store import ClipStore, StoredClip
from deft_llm.service.completions import Answer, event, look_at, write
from deft_llm.service.guard import Guard
from deft_llm.service.limits import check_video
from deft_llm.service.models import EMBEDDED, Models
from deft_llm.service.openai_errors import HANDLERS, ApiError
from deft_llm.service.queue_of_one import QueueOfOne
from deft_llm.service.received import clip_of

logger = logging.getLogger(__name__)
_PATIENCE = 2  # s that answers get to end after Ctrl-C


class _Stream(StreamingResponse):
    """A stream that keeps its turn until it has ended, however it ends."""

    def __init__(self, events: AsyncIterator[str], turn: AsyncExitStack) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._turn = turn

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Of a stream that the end of the server cuts off, the status is sent already.
        with suppress(ApiError):
            async with self._turn:
                await super().__call__(scope, receive, send)


class Endpoints:
    """The functions behind the routes."""

    def __init__(self, service: ClipService, store: ClipStore) -> None:
        self.service, self.store = service, store
        self.queue = QueueOfOne(service.limits.waiting)

    async def chat(self, request: ChatRequest) -> Response:
        """Answer the last question about the conversation's clip, whole or as a stream."""
        request.check()
        asked, run = conversation_of(request), self.queue.run
        if not request.wants_json:
            self.service.question(asked.question)
        async with AsyncExitStack() as stack:
            # Given back by the stack: here after a whole answer or an error, by ``_Stream`` after a
            # stream.
            await stack.enter_async_context(self.queue.turn())
            clip = await run(clip_of, asked.clips, self.store, self.service.limits)
            answer = Answer(request, await run(look_at, clip, self.service, self.store))
            pieces = self.queue.iterate(write(answer, asked, self.service))
            # What can go wrong is answered with a status, so before a stream starts.
            first = await anext(pieces, "")
            if request.stream:
                return _Stream(self._events(answer, first, pieces), stack.pop_all())
            # The answer gathers them itself.
            async for _ in pieces:
                pass
            return JSONResponse(await run(answer.completion))

    async def _events(
        self, answer: Answer, first: str, pieces: AsyncIterator[str]
    ) -> AsyncIterator[str]:
        try:
            yield answer.chunk({"role": "assistant", "content": first})
            async for piece in pieces:
                yield answer.chunk({"content": piece})
            evidence = await self.queue.run(lambda: answer.evidence)
            more = {"evidence": evidence, **answer.found}
            yield answer.chunk({}, finish_reason=answer.finish, **more)
            options = answer.request.stream_options
            if options is not None and options.include_usage:
                yield answer.usage_chunk()
        except Exception:
            # The status is sent already; a client learns of it from an event.
            logger.exception("an answer broke off")
            yield event({"error": {"message": "internal error", "type": "server_error"}})
        # OpenAI's mark of the end, also after an error.
        yield "data: [DONE]\n\n"

    async def upload(self, request: Request) -> JSONResponse:
        """Take a clip as the field ``file`` of a form."""
        # Clients send a purpose beside the file, and may send what else their version has.
        async with request.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                message = "file: expected the clip as the field file of a multipart form"
                raise ApiError(message, param="file")
            clip = await run_in_threadpool(self._keep, file)
        return JSONResponse(_file(clip))

    def _keep(self, file: UploadFile) -> StoredClip:
        key, limits = f"file-{uuid4().hex}", self.service.limits
        if (file.size or 0) > limits.file_bytes:
            raise ApiError(f"file: at most {limits.file_bytes / 1e6:.0f} MB are read", 413)
        path = self.store.place(key, file.filename or "clip")
        clip = StoredClip(key, path, file.size or 0)
        try:
            with path.open("wb") as target:
                shutil.copyfileobj(file.file, target)
            check_video(path, limits)
        # A client that leaves in the middle, too, must not leave half a clip behind.
        except BaseException:
            self.store.delete_file(clip)
            raise
        return self.store.add(clip)

    async def files(self) -> dict[str, Any]:
        """All uploaded clips."""
        # Clips that came inside a request were never uploaded.
        clips = [clip for clip in self.store.clips() if clip.id.startswith("file-")]
        return {"object": "list", "data": [_file(clip) for clip in clips], "has_more": False}

    async def file(self, file_id: str) -> dict[str, Any]:
        """One uploaded clip."""
        clip = self.store.get(file_id)
        if clip is None:
            raise ApiError(f"file {file_id!r}: no such file", 404)
        return _file(clip)

    async def delete(self, file_id: str) -> dict[str, Any]:
        """Delete an uploaded clip and what was measured in it."""
        if not self.store.remove(file_id):
            raise ApiError(f"file {file_id!r}: no such file", 404)
        return {"id": file_id, "object": "file", "deleted": True}

    async def models(self) -> dict[str, Any]:
        """The one model."""
        return {"object": "list", "data": [await self.model(MODEL)]}

    async def model(self, name: str) -> dict[str, Any]:
        """The model by its name."""
        if name != MODEL:
            raise ApiError(f"model {name!r}: expected {MODEL!r}", 404, "model_not_found")
        return {"id": MODEL, "object": "model", "created": 0, "owned_by": "deft-llm"}

    async def health(self) -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}


def _file(clip: StoredClip) -> dict[str, Any]:
    return {
        "id": clip.id,
        "object": "file",
        "bytes": clip.bytes,
        "created_at": clip.created,
        "filename": clip.path.name,
        "purpose": "user_data",
        "status": "processed",
    }


def build(
    service: ClipService, store: ClipStore, key: str | None = None, local: bool = True
) -> FastAPI:
    """The application.

    Args:
        service: The model as "embedded", and the limits.
        store: Where clips are kept.
        key: What clients must send as a bearer token; None asks for none.
        local: Whether it is for this machine only.
    """
    ends = Endpoints(service, store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        ends.queue.close()

    # No pages with the API: they would load scripts from elsewhere.
    app = FastAPI(title=MODEL, docs_url=None, redoc_url=None, lifespan=lifespan)
    for method, path, work in (
        ("POST", "/v1/chat/completions", ends.chat),
        ("POST", "/v1/files", ends.upload),
        ("GET", "/v1/files", ends.files),
        ("GET", "/v1/files/{file_id}", ends.file),
        ("DELETE", "/v1/files/{file_id}", ends.delete),
        ("GET", "/v1/models", ends.models),
        ("GET", "/v1/models/{name}", ends.model),
        ("GET", "/healthz", ends.health),
    ):
        app.add_api_route(path, work, methods=[method], response_model=None)
    app.add_middleware(Guard, limits=service.limits, key=key, local=local)
    for error, answer in HANDLERS.items():
        app.add_exception_handler(error, answer)
    return app


def run(
    bound: socket.socket,
    checkpoint: Path,
    key: str | None,
    local: bool,
    ready: Callable[[], None],
) -> None:
    """Load the model and serve until Ctrl-C or SIGTERM; all clips are deleted at the end.

    Args:
        bound: Where to listen.
        checkpoint: The model; see ``Explainer.load``.
        key: See ``build``.
        local: See ``build``.
        ready: Called once the model is loaded.

    Raises:
        UserError: If the checkpoint cannot be read.
    """
    # Raises KeyboardInterrupt, as Ctrl-C does; by default SIGTERM would leave the clips on disk.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="deft-serve-") as folder:
        models = Models(checkpoint)
        models.get(EMBEDDED)
        app = build(ClipService(models), ClipStore(Path(folder)), key, local)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=_PATIENCE
        )
        # uvicorn raises the signal again that has stopped it.
        with suppress(KeyboardInterrupt):
            ready()
            asyncio.run(uvicorn.Server(config).serve(sockets=[bound]))
