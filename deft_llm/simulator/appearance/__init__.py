"""Appearance of faces: skin, texture, wrinkles, accessories, occluders."""
