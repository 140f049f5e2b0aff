"""Scores, computed from rows of predictions alone."""
