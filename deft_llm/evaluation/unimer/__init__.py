"""Uni-MER: truth and balance of the instruction data, and the fit of its agreement score."""
