"""Gaze from an event camera: readers, a small tracker, and refinement at inference time."""
