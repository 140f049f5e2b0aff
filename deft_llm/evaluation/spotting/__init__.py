"""Spotting: decoders on curves without a network's mistakes."""
