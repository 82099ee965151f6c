"""The truth, as callers tell it later: a fact, which is held to the target's type and no more.

What was told last of a prediction counts, and may be taken back.

A label that the contract does not know is taken too: that there are new ones is what monitoring
has to find out, and what retraining may learn.
"""

import os
import sys
from binascii import crc_hqx
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.exceptions import HTTPException

from ..contract import Column
from .log import moment
from .messages import CALLER
from .requests import Refusal, Violation

ID_BYTES, CHECK_BYTES, CHECK = 12, 2, 0xFFFF
"""How long an id is, with twice as many digits; of it the check, and what that begins with."""

ID_PATTERN = f"^[0-9a-f]{{{2 * ID_BYTES}}}$"

LONGEST = 1_000
"""Letters of a label; also of one that the contract does not know."""

RECENT = 10_000
"""Predictions of which it is held what was told of them last."""

WHOLE = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What a column of whole numbers can hold."""

FINITE = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]

SHAPES: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "boolean": ("boolean", (bool,), "The ground truth must be true or false."),
    "integer": ("integer", (WHOLE,), "The ground truth must be a whole number."),
    "label": ("string", (str,), "The ground truth must be a text, the label itself."),
    "number": ("number", (WHOLE, FINITE), "The ground truth must be a finite number."),
}
"""For each shape of a truth: its type in JSON Schema, those that it is read as, the first that
fits, and a sentence for who sends another."""


class Feedback(msgspec.Struct):
    """What a caller tells of a prediction."""

    prediction_id: Annotated[str, Meta(pattern=ID_PATTERN, max_length=2 * ID_BYTES)]
    truth: Annotated[str, Meta(max_length=LONGEST)] | int | float | bool | None = None
    retract: bool = False
    """Whether all that was told of it is taken back."""


class Truth(msgspec.Struct, omit_defaults=True):
    """What became of a row, as the log keeps it; null if that is not known any more."""

    id: str
    time: str
    truth: Any
    key: str = ""
    """The name of the API key by which it was told."""


DECODER = msgspec.json.Decoder(Feedback | list[Feedback])


def read(body: bytes, target: Column, most: int) -> list[Truth]:
    """The truths in a request, of which there may be so many, for the log.

    Raises:
        HTTPException: if the body is no JSON, empty, or of another shape; if an id is none of
            ours; or if there are too many truths.
        Refusal: if a truth is not of the target's type.
    """
    try:
        told = DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"The body is no JSON: {error}.") from None
    told = told if isinstance(told, list) else [told]
    if not told:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The array is empty.")
    if len(told) > most:
        raise HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Tell ground truth of at most {most:,} at once."
        )
    now, key = moment(), CALLER.get()
    lines = [
        Truth(one.prediction_id, now, None if one.retract else truth(target, one.truth), key)
        for one in told
    ]
    sentence = SHAPES[shape(target)][2]
    violations = [
        Violation(row, target.name, "truth", one.truth, sentence)
        for row, (line, one) in enumerate(zip(lines, told, strict=True))
        if line.truth is None and not one.retract
    ]
    if violations:
        raise Refusal(violations)
    return lines


def new_ids(count: int) -> list[str]:
    """Ids for predictions, drawn at random; the last bytes of each check those before them."""
    size = ID_BYTES - CHECK_BYTES
    drawn = os.urandom(size * count)
    parts = (drawn[place : place + size] for place in range(0, len(drawn), size))
    return [(its + crc_hqx(its, CHECK).to_bytes(CHECK_BYTES)).hex() for its in parts]


def kind(line: Truth, told: dict[str, Any]) -> str:
    """Of what kind a truth is, by its id and by what was told before; it is remembered."""
    if crc_hqx(bytes.fromhex(line.id), CHECK):
        return "unknown"
    before = told.pop(line.id, None)
    told[line.id] = line.truth
    if len(told) > RECENT:
        del told[next(iter(told))]
    if line.truth is None:
        return "retracted"
    if before is None:
        return "new"
    return "repeated" if before == line.truth else "changed"


def shape(target: Column) -> str:
    """What a truth looks like: one of `SHAPES`."""
    if target.choices is None:
        return "label" if target.kind == "item" else "number"
    if target.kind == "boolean":
        return "boolean"
    return "label" if isinstance(target.choices[0], str) else "integer"


def truth(target: Column, told: Any) -> Any:
    """The truth as a value of the target's type; None if it is of another."""
    for kind in SHAPES[shape(target)][1]:
        with suppress(msgspec.ValidationError):
            # Some writers of JSON put a point into whole numbers, too.
            return msgspec.convert(told, kind, strict=not isinstance(told, float))
    return None


def is_unknown(target: Column, truth: Any) -> bool:
    """Whether a truth is a label that the contract does not know."""
    return target.choices is not None and truth not in (None, *target.choices)
