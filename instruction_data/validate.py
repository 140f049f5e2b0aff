"""Check a data folder: python instruction_data/validate.py DATA; 2 when something is wrong.

The command ``deft-llm instructions validate``.
"""

from deft_llm.__main__ import main

if __name__ == "__main__":
    main("instructions", "validate", name="validate.py")
