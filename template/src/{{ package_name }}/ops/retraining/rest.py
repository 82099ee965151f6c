"""The interface of a host, as far as a retraining's own code asks for it."""

from ..hosting.rest import ask

__all__ = ["ask"]
