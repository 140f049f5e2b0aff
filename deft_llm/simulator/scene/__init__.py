"""Content of a clip: its recipe, performance and distractors, and the rendered clip."""
