"""Tables of recognition from a corpus folder as it was unpacked."""
