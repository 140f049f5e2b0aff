"""Corpora: one file per dataset, official sheets and folders to annotations."""
