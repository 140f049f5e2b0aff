"""The demo, on this machine alone: python demo/app.py [--models FOLDER] [--port N].

The command ``deft-llm demo``.
"""

from deft_llm.__main__ import main

if __name__ == "__main__":
    main("demo", name="demo")
