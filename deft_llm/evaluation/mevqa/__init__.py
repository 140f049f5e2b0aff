"""ME-VQA, the question tasks of MEGC: questions about clips, answered and scored."""
