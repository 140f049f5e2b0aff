"""Run a benchmark: python eval/run.py eval/benchmarks/simulated.yaml --check.

The command ``deft-llm eval``.
"""

from deft_llm.__main__ import main

if __name__ == "__main__":
    main("eval", name="eval/run.py")
