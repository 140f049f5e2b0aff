"""DEFT-LLM: three disentangled experts, a projector each, and a language model."""
