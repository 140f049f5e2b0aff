"""3D and 4D scans of faces: reading, writing, and putting every face into one pose and unit."""
