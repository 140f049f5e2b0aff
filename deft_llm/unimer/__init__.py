"""Uni-MER: instruction data whose words are bound to motion."""
