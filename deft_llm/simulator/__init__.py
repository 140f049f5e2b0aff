"""Renders clips of a face whose motion is known exactly: heads, performances, splatting, camera."""
