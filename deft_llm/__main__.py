"""The command ``deft-llm``, also ``python -m deft_llm``."""

import sys

from deft_llm.errors import UserError


def main(*command: str, name: str = "deft-llm") -> None:
    """Run the command line.

    User errors, a full disk and the like print one line and exit with 2; Ctrl-C exits with 130.

    Args:
        *command: The command to run, for scripts that stand for one command.
        name: Program name at the start of error messages.
    """
    # Imports inside the block: Ctrl-C during the slow imports leaves no traceback either.
    try:
        import logging

        from deft_llm.cli import terminal

        terminal.print_anything()
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
        from deft_llm.cli.main import app

        try:
            if command:
                app([*command, *sys.argv[1:]], prog_name="deft-llm")
            else:
                app()
        except UserError:
            raise
        except Exception as error:
            line = terminal.outside_cause(error)
            if line is None:
                raise
            raise UserError(line) from error
    except UserError as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
