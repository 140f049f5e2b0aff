"""Train anything by its recipe: python train.py train_configs/deft/tiny.yaml.

The command ``deft-llm train``.
"""

from deft_llm.__main__ import main

if __name__ == "__main__":
    main("train", name="train.py")
