"""Federated training: sites that share weights, not clips."""
