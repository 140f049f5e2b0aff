"""What a face looks like and wears: skin, texture, wrinkles, accessories, occluders."""
