"""Render clips of faces with exactly known motion: heads, performances, splatting, camera."""
