"""What DEFT-LLM says: classes, AUs and claims on simulated clips, calibration, ME-VQA."""
