"""Motion of the face: optical flow, head-motion removal, strain, regions, onset and apex."""
