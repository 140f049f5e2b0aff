"""Micro-expression recognizers: one file for each paper, one contract for all."""
