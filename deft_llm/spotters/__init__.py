"""Networks that find micro-expressions in long videos: one file for each paper."""
