"""Simulated optical flow: pairs of frames, data sets of pairs, flow images."""
