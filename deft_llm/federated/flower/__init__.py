"""The same federation on Flower (extra ``federated``): its messages, strategy and processes.

Only these modules import ``flwr``; ``needed()`` is called where a command begins.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from deft_llm.errors import UserError

MISSING = 'Flower is not installed: pip install "deft-llm[federated]"'
# No reports home, no look for updates, and no packages that a server asks for.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def needed(*also: str) -> None:
    """Check that Flower is installed, and set what it reads when it is imported.

    Args:
        *also: Other packages that the engine needs.

    Raises:
        UserError: If one is missing.
    """
    for package in ("flwr", *also):
        if find_spec(package) is None:
            what = MISSING if package == "flwr" else f"{MISSING} (it lacks {package})"
            raise UserError(f"this engine needs the extra federated: {what}")
    os.environ.update(QUIET)
