"""Known motion on real skin: warped photos and clips, the user's own among them."""
