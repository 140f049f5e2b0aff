"""The benchmark of rewarded language models."""
