"""Measured clips: what every network is fed from, and how it is made and kept."""
