"""Optical flow: errors against exact flow, and recognition from each estimator's flow."""
