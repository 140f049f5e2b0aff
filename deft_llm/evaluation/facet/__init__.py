"""FACET-VLM on scans: simulated ones of people never seen, and datasets by folds of subjects."""
