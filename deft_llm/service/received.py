"""The clip that a chat request is about: a stored one, one inside the request, or its frames."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from collections.abc import Sequence
from typing import Any

from PIL import Image, UnidentifiedImageError

from deft_llm.service.chat_request import Part, data_url
from deft_llm.service.clip_store import ClipStore, StoredClip
from deft_llm.service.limits import Limits
from deft_llm.service.openai_errors import ApiError

# Where the suffix is not the name of the type itself.
_SUFFIX_OF = {
    **{"quicktime": ".mov", "matroska": ".mkv", "msvideo": ".avi", "mp2t": ".ts"},
    **{"3gpp": ".3gp", "3gpp2": ".3g2", "ms-wmv": ".wmv", "ms-asf": ".asf"},
}
_TYPE = re.compile(r"data:(?:video|image)/(?:x-|vnd\.)?([\w.+-]+)")
_FRAME_SUFFIX = {"PNG": ".png", "JPEG": ".jpg"}


def clip_of(parts: Sequence[Part], store: ClipStore, limits: Limits) -> StoredClip:
    """The one clip that some content parts hold or name.

    Several ``image_url`` parts are the frames of one clip. A clip inside the request is known
    again by its content when the conversation goes on.

    Raises:
        ApiError: If there is no clip or more than one, it is too large, or a file's id is unknown.
    """
    images = [part for part in parts if part.type == "image_url"]
    # A client may repeat the clip in every message.
    others = {part.model_dump_json(): part for part in parts if part.type != "image_url"}
    clips = len(others) + bool(images)
    if clips != 1:
        message = (
            f"{clips} clips in the conversation; expected one, as a content part of type video_url "
            "with a data: URL, or of type file with the id of an uploaded file"
        )
        raise ApiError(message, param="messages")
    if images:
        return _images([_url(part) for part in images], store, limits)
    return _video(next(iter(others.values())), store, limits)


def _url(part: Part) -> Any:
    inner = (part.model_extra or {}).get(part.type)
    return inner.get("url") if isinstance(inner, dict) else inner


def _video(part: Part, store: ClipStore, limits: Limits) -> StoredClip:
    """The clip of a ``video_url`` or ``file`` part."""
    if part.type == "video_url":
        return _inline(_url(part), "", store, limits)
    given = (part.model_extra or {}).get("file")
    file = given if isinstance(given, dict) else {}
    if "file_data" in file:
        return _inline(file["file_data"], str(file.get("filename", "")), store, limits)
    clip = store.get(str(file.get("file_id")))
    if clip is None:
        message = (
            f"file {file.get('file_id')!r}: no such file; it was deleted, or newer uploads took "
            "its place; upload it again with POST /v1/files"
        )
        raise ApiError(message, 404, param="messages")
    return clip


def _inline(url: Any, name: str, store: ClipStore, limits: Limits) -> StoredClip:
    """A clip inside the request."""
    data = _decoded(data_url(url), limits)
    kind = _TYPE.match(url)
    suffix = _SUFFIX_OF.get(kind[1], f".{kind[1]}") if kind else ""
    return _stored([(name or f"clip{suffix}", data)], store)


def _images(urls: Sequence[Any], store: ClipStore, limits: Limits) -> StoredClip:
    """An animated image, or the frames of a clip."""
    images = [_decoded(data_url(url), limits) for url in urls]
    if sum(map(len, images)) > limits.inline_bytes:
        raise _too_large(limits)
    # GIF, WebP and the like, of which one may hold a whole clip.
    if len(images) == 1 and not str(urls[0]).startswith(("data:image/png", "data:image/jpeg")):
        return _inline(urls[0], "", store, limits)
    if len(images) == 1:
        message = "one image shows no motion; send a video, or all frames as image_url parts"
        raise ApiError(message, param="messages")
    # Numbered in the order of the message, which is that of time.
    return _stored([(f"{i}{_frame_suffix(i, x)}", x) for i, x in enumerate(images)], store)


def _frame_suffix(index: int, data: bytes) -> str:
    """Suffix of a frame, from its first bytes; nothing is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=list(_FRAME_SUFFIX)) as image:
            return _FRAME_SUFFIX[str(image.format)]
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        message = f"image {index}: expected a PNG or JPEG of moderate size"
        raise ApiError(message, param="messages") from error


def _decoded(text: str, limits: Limits) -> bytes:
    # Before it is decoded. Four letters are three bytes, of which the last two may be filling.
    if len(text) * 3 / 4 > limits.inline_bytes + 3:
        raise _too_large(limits)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"url: no base64 after the comma ({error})"
        raise ApiError(message, param="messages") from error


def _too_large(limits: Limits) -> ApiError:
    most = limits.inline_bytes / 1e6
    message = f"more than {most:.0f} MB inside a request; upload the clip with POST /v1/files"
    return ApiError(message, 413)


def _stored(files: Sequence[tuple[str, bytes]], store: ClipStore) -> StoredClip:
    """The clip of these bytes: one video, or a folder of frames."""
    digest = hashlib.sha256()
    for _, data in files:
        # With its length: two files must not pass for two others of the same bytes in all.
        digest.update(len(data).to_bytes(8) + data)
    key = f"inline-{digest.hexdigest()[:32]}"
    if (known := store.get(key)) is not None:
        return known
    for name, data in files:
        path = store.place(key, name)
        path.write_bytes(data)
    size = sum(len(data) for _, data in files)
    return store.add(StoredClip(key, path if len(files) == 1 else path.parent, size))
