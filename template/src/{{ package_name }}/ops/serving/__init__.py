"""The service: a model answers over HTTP."""
