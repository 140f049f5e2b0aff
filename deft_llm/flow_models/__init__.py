"""Networks that estimate dense flow, and the losses that suit faces."""
