"""From triangles and Gaussians to pixels: camera, splatting, layers."""
