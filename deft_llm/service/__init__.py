"""Front ends, the page and the server, and what they share: limits, models, one clip or many."""
