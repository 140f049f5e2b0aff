"""Questions about a clip as structured queries: their grammar, vocabulary, and answers."""
