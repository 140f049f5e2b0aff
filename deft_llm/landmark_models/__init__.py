"""The project's own landmark finder: a small network and its application to clips."""
