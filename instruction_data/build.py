"""Build Uni-MER instruction data from licensed corpora, simulated clips, or both.

python instruction_data/build.py OUT --simulated 1000
python instruction_data/build.py OUT --corpora cache/casme2.jsonl cache/samm.jsonl --simulated 1000

The command ``deft-llm instructions build``; ``--help`` says more.
"""

from deft_llm.__main__ import main

if __name__ == "__main__":
    main("instructions", "build", name="build.py")
