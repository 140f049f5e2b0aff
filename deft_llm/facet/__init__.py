"""FACET-VLM: expressions of 3D and 4D faces, from several views, guided by text."""
