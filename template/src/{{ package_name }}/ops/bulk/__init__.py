"""Scoring files of any size: in batches, resumable, in bounded memory."""
