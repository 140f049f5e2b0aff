"""Fit the score of the dual constraint anew: python instruction_data/calibrate.py.

Simulates clips of faces that neither training nor benchmarks use, fits, and writes the weights to
deft_llm/unimer/agreement.json (or --out). Run it when simulator, flow or features change. The
command ``deft-llm instructions calibrate``.
"""

from deft_llm.__main__ import main

if __name__ == "__main__":
    main("instructions", "calibrate", name="calibrate.py")
