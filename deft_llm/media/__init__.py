"""Media: reading and writing video, finding and aligning faces, drawing on frames."""
