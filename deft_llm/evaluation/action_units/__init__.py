"""Action units on corpora: each by itself, by the F1 of its positive class."""
