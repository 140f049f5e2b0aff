"""The project's own head: mesh, shape, paint and identities, made without any file."""
