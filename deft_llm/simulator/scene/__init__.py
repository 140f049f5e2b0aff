"""What happens in a clip: its specification, performance, distractors, and the clip itself."""
