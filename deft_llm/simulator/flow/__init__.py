"""Simulated optical flow: pairs of frames, datasets of pairs, flow images."""
