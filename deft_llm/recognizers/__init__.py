"""Micro-expression recognizers: one file for each paper, one interface for all."""
