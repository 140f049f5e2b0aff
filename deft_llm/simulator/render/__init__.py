"""From triangles and Gaussians to pixels: camera, splatting, occlusion."""
