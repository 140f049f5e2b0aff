"""Upload a finished run to the Hugging Face hub, with its card."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from deft_llm.deft.tuning.export import export
from deft_llm.errors import UserError

logger = logging.getLogger(__name__)
# OSError: no login, offline mode, no network. The hub's client is httpx or httpx2 by its version,
# and its refusals derive from the HTTPError of either.
_REFUSALS: tuple[type[Exception], ...] = (
    *(HFValidationError, OSError),
    *(e for e in HfHubHTTPError.__mro__ if issubclass(e, Exception) and e.__name__ == "HTTPError"),
)


def require_repository(repository: str) -> None:
    """Create a private repository, or check that the existing one can be written.

    Called before a training, whose upload would otherwise fail hours later.

    Args:
        repository: "me/my-model".

    Raises:
        UserError: If the name is wrong, the hub is not reached, or it refuses.
    """
    with _naming_refusals(repository):
        validate_repo_id(repository)
        HfApi().create_repo(repository, private=True, exist_ok=True)


def upload(folder: Path, repository: str) -> None:
    """Upload an exported model.

    Args:
        folder: What ``export`` wrote.
        repository: "me/my-model"; created as private if it does not exist.

    Raises:
        UserError: As :func:`require_repository`.
    """
    require_repository(repository)
    with _naming_refusals(repository):
        found = HfApi().upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Upload from deft-llm"
        )
    logger.info("uploaded: %s", found.commit_url)


def publish(run: Path, repository: str) -> None:
    """Upload the model of a finished run.

    Args:
        run: Folder of the run.
        repository: As in :func:`upload`.

    Raises:
        UserError: As :func:`require_repository`; the run itself is finished and stays.
    """
    with TemporaryDirectory() as scratch:
        upload(export(run, Path(scratch) / run.name), repository)


@contextmanager
def _naming_refusals(repository: str) -> Iterator[None]:
    try:
        yield
    except _REFUSALS as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"push_to_hub {repository!r}: {reason}; log in with `hf auth login`, name a repository "
            "of yours (me/my-model), or leave it out"
        ) from error
