"""Watching the model: requests, predictions and ground truth."""
