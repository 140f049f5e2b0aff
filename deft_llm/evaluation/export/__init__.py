"""A corpus as a task of the harnesses that people run: lmms-eval and VLMEvalKit."""
