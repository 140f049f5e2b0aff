"""DEFT-LLM's explanations: classes, AUs and claims on simulated clips, calibration, ME-VQA."""
