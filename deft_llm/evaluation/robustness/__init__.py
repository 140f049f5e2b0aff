"""Inputs as people have them: changing light, containers and pictures, and agreement of words."""
