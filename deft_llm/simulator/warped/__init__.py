"""Real faces in known motion: a photo or a resting clip, warped exactly by action units."""
