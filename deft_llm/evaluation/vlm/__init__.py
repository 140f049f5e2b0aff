"""Any vision-language model on measured clips: what it is shown, asked, and how it is read."""
