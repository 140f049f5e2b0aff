"""Gaze from events: trackers and their refinement on simulated recordings."""
