"""The command line, ``deft-llm``: one file for each group of commands."""
