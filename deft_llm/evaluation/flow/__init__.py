"""Optical flow: errors against exact flow, and what a flow is worth to recognition."""
