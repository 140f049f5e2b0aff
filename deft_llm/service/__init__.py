"""What a front end stands on: limits on what is read, choice of a model, one clip or many."""
