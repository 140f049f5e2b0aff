"""The project's own head, which needs no files: mesh, shape, paint and identities."""
