"""Federated training compared with training alone and with all clips in one place."""
