"""Measured clips: the source of all network inputs, and how they are made and stored."""
