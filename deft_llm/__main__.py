"""The command ``deft-llm``, also ``python -m deft_llm``."""

import sys

from deft_llm.errors import UserError


def main(*command: str, name: str = "deft-llm") -> None:
    """Run the command line; user errors become one line and status 2, Ctrl-C status 130.

    The command line is imported inside: stopping it that early leaves no traceback either.

    Args:
        *command: A command that the arguments belong to, where a script stands for it.
        name: What messages begin with.
    """
    try:
        import logging

        logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
        from deft_llm.cli.main import app

        if command:
            app([*command, *sys.argv[1:]], prog_name="deft-llm")
        else:
            app()
    except UserError as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
