"""Start a training in the processes that an accelerate configuration describes.

As ``accelerate launch`` does it, but a request to stop is passed on and waited for, and a failure
ends with the status of the process that failed, without the launcher's traceback.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from deft_llm.config import read_yaml
from deft_llm.errors import UserError
from deft_llm.stopping import Stopped

_PACKAGE = Path(__file__).resolve().parents[1]


def launch(config: Path, processes: int | None, arguments: Sequence[str]) -> int:
    """Run ``deft-llm train`` in several processes.

    Args:
        config: Configuration file of accelerate.
        processes: Number of processes; None for that of the file.
        arguments: Recipe and overrides.

    Returns:
        Exit status of the first process that failed, 0 if none did.

    Raises:
        UserError: If the configuration is for one process, or accelerate refuses it.
        Stopped: If this process was asked to stop, after the others have ended.
    """
    settings = read_yaml(config)
    if str(settings.get("distributed_type", "NO")).upper() == "NO":
        raise UserError(f"{config}: describes one process, which needs no launcher; leave it out")
    # What ends a process is told by that process, or by its status.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    options = ["--config_file", str(config)]
    if settings.get("num_machines", 1) == 1:
        options += ["--main_process_port", "0"]  # any that is free; several machines have to agree
    if processes is not None:
        options += ["--num_processes", str(processes)]
    # As ``python -m deft_llm train``: train.py is not in an installed package.
    options += ["--module", _PACKAGE.name, "train", *arguments]
    # The processes find the package wherever they are started from.
    above = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(above)
    try:
        launch_command(launch_command_parser().parse_args(options))
    except SignalException as request:
        raise Stopped(request.sigval) from None
    except ChildFailedError as failure:
        _, first = failure.get_first_failure()
        # A process that was ended by a signal has a negative status.
        return first.exitcode if first.exitcode > 0 else 128 - first.exitcode
    # accelerate checks its file as late as this, in paragraphs.
    except (ValueError, ImportError, RuntimeError) as error:
        raise UserError(f"{config}: {' '.join(str(error).split())}") from error
    return 0
