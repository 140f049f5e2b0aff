"""The ICT-FaceKit head: its files, its shape and its paint."""
