"""Landmarks: simulated faces, real clips."""
