"""Benchmarks: measures, clips and bars."""
