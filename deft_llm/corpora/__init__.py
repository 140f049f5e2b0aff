"""Datasets, one file each: from official sheets and folders to annotations and frames."""
