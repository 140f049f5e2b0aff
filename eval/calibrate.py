"""Fit a checkpoint's temperatures: python eval/calibrate.py [PLAN.yaml] [overrides].

The command ``deft-llm calibrate``.
"""

from deft_llm.__main__ import main

if __name__ == "__main__":
    main("calibrate", name="eval/calibrate.py")
