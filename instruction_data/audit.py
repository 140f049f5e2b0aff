"""Do two data folders share a subject, a clip or a content hash?

python instruction_data/audit.py TRAIN TEST: 0 when they share nothing, 1 when they leak.
The command ``deft-llm instructions audit``.
"""

from deft_llm.__main__ import main

if __name__ == "__main__":
    main("instructions", "audit", name="audit.py")
