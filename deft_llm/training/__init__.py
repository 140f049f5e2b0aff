"""Training: every trainable thing, by its configuration."""
