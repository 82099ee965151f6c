"""The service: the champion's answers over HTTP."""
