"""The benchmark of the chat: questions in everyday words, on clips whose motion is known."""
