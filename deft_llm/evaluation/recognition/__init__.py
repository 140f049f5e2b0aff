"""Recognition: recognizers under one protocol, tables, the dual-phase benchmark."""
