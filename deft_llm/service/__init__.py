"""The demo and what it needs: input limits, choice of a model, one clip or many."""
