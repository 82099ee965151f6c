"""The interface of a host of repositories: JSON over HTTP."""

import json
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ..errors import UserError

PATIENCE = 30.0
"""Seconds that a host has to answer."""


def ask(method: str, address: str, headers: Mapping[str, str], body: object = None) -> Any:
    """What a host answers.

    Raises:
        UserError: if it does not answer, or refuses, in its own words.
    """
    data = None if body is None else json.dumps(body).encode()
    told = {"Content-Type": "application/json", **headers}
    place = urlsplit(address)
    if place.scheme not in ("http", "https"):
        raise UserError(f"{address} is no address of a host; it begins with https://.")
    request = urllib.request.Request(address, data, told, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # nosec B310
            return json.load(answer)
    except HTTPError as error:
        said = error.read().decode(errors="replace").strip()
        raise UserError(f"{place.netloc} refuses {method} {place.path}: {error} {said}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"{place.netloc} does not answer {method} {place.path}: {reason}") from None
