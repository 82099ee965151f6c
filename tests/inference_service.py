"""Read an InferenceService from stdin by KServe's own types; anything that they do not know fails.

It runs in an environment of its own, which has `kserve`: see test_kubernetes.py.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import kserve
import yaml
from kubernetes import client

PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def read(kind: str, value: Any, place: str) -> object:  # noqa: ANN401  whatever YAML holds
    """A value as the type of this name; a ValueError if it is none."""
    if parts := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        return [read(parts[1], each, f"{place}[{at}]") for at, each in enumerate(value)]
    if parts := re.fullmatch(r"dict[\[(]str, (.+)[\])]", kind):
        return {name: read(parts[1], each, f"{place}.{name}") for name, each in value.items()}
    if kind in PLAIN:
        if not isinstance(value, PLAIN[kind]):
            raise ValueError(f"{place} is {value!r}, and no {kind}")
        return value
    model = getattr(kserve, kind, None) or getattr(client, kind)
    names = {written: name for name, written in model.attribute_map.items()}
    if unknown := value.keys() - names.keys():
        raise ValueError(f"{place} has {sorted(unknown)}, which {kind} does not know")
    given = {
        names[written]: read(model.openapi_types[names[written]], each, f"{place}.{written}")
        for written, each in value.items()
    }
    return model(**given)  # which refuses what lacks a part that it must have


try:
    read("V1beta1InferenceService", yaml.safe_load(sys.stdin), "")
except ValueError as error:
    sys.exit(str(error))
