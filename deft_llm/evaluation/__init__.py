"""Benchmarks: what is measured, on which clips, against which bars."""
