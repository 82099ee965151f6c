"""What moved to `ops/hosting/rest.py`, for code of the project's own that imports it from here."""

from ..hosting.rest import ask

__all__ = ["ask"]
