"""A bundle in an MLflow registry, asked for over plain HTTP with the standard library alone.

The registry hands over the files too, wherever it keeps them: on its disk, in a bucket, behind its
proxy. Nothing that it says becomes a path or an address here, it is believed no file that does not
have the digest that was registered, and no redirect takes a password elsewhere.
"""

import base64
import json
import os
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urlsplit

from ..bundle import MANIFEST, MODEL, UNKNOWN, VERSION, Origin
from ..errors import UserError
from ..files import write_json
from .places import WORD, Absent, Unavailable

MIB = 1024**2

MOST_BYTES = {MODEL: 2048 * MIB, MANIFEST: 256 * MIB}
"""How long the files of a bundle may be. ONNX itself allows a model no more."""

MOST_ANSWER_BYTES = 4 * MIB
"""How long what a registry says of a version may be."""

PATIENCE = 10.0
"""Seconds that a registry may be silent, or may take to say what it knows of a version."""

MOST_SECONDS = 600.0
"""Seconds that a file may take to arrive."""

BLOCK = 64 * 1024

NUMBER = re.compile(r"[1-9][0-9]{0,18}")
DIGEST = re.compile(r"[0-9a-f]{64}")

EXPECTED = (
    "{} is neither a folder nor an address such as http://host:5000/NAME@champion "
    "or http://host:5000/NAME/3; mend it."
)
"""It is not repeated, for there may be a password in it."""


class Registered(NamedTuple):
    """What a registry says of a version."""

    origin: Origin
    digest: str
    store: str
    """The kind of place where it keeps the files, such as "s3"."""


class Registry:
    """A version of a model, by its number or by an alias that moves."""

    def __init__(
        self, base: str, name: str, alias: str, number: str, proof: str, setting: str
    ) -> None:
        """Watch what an alias names, or a number where the alias is empty.

        `proof` is the header that tells who asks; it may be empty. `setting` is what to mend.
        """
        self._setting = setting
        self.shown = f"{base}/{quote(name)}" + (f"@{alias}" if alias else f"/{number}")
        self._base = base
        self._name = name
        if alias:
            query = urlencode({"name": name, "alias": alias})
            self._question = f"api/2.0/mlflow/registered-models/alias?{query}"
        else:
            query = urlencode({"name": name, "version": number})
            self._question = f"api/2.0/mlflow/model-versions/get?{query}"
        self._headers = {"Authorization": proof} if proof else {}
        self._opener = _opener(base.startswith("https:"))

    @classmethod
    def parse(cls, where: str, setting: str = "BUNDLE") -> Self:
        """Understand `http://host:5000/NAME@ALIAS` or `http://host:5000/NAME/VERSION`.

        Who asks is told by the address (user and password before the host) or as MLflow has it:
        MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.

        Raises:
            UserError: if it is no such address.
        """
        try:
            parts = urlsplit(where)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            raise UserError(EXPECTED.format(setting)) from None
        if not known or parts.query or parts.fragment or not where.isprintable() or " " in where:
            raise UserError(EXPECTED.format(setting))
        prefix, _, last = parts.path.rpartition("/")
        name, _, alias = last.rpartition("@")
        number = ""
        if not name:
            prefix, _, name = prefix.rpartition("/")
            alias, number = "", last
        if not name or not (WORD.fullmatch(alias) or NUMBER.fullmatch(number)):
            raise UserError(EXPECTED.format(setting))
        user, _, host = parts.netloc.rpartition("@")
        base = f"{parts.scheme}://{host}{prefix}"
        return cls(base, unquote(name), alias, number, _proof(user, os.environ), setting)

    def state(self) -> Registered:
        """Which version there is, by one small question."""
        text = b"".join(self._answer(self._question, MOST_ANSWER_BYTES, PATIENCE))
        try:
            version = json.loads(text)["model_version"]
            number = str(version["version"])
            tags = {str(tag["key"]): str(tag["value"]) for tag in version.get("tags", ())}
            store = str(version.get("source", "")).partition(":")[0]
            created = _moment(version.get("creation_timestamp"))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise Unavailable(
                f"{self._base} does not answer as MLflow does; mend {self._setting}."
            ) from None
        digest = tags.get("bundle", "")
        if not (NUMBER.fullmatch(number) and DIGEST.fullmatch(digest)):
            raise Unavailable(
                f"{self.shown} was not registered by `ops register`; it has no bundle."
            )
        commit, data = (_word(tags.get(key, "")) for key in ("git.commit", "dvc.train"))
        return Registered(Origin(number, commit, data, created), digest, _word(store))

    def copy(self, state: Registered, folder: Path) -> str:
        """Have the registry hand over the files, wherever it keeps them."""
        for name, most in MOST_BYTES.items():
            query = urlencode({"name": self._name, "version": state.origin.version, "path": name})
            question = f"model-versions/get-artifact?{query}"
            with (folder / name).open("xb") as file:
                for block in self._answer(question, most, MOST_SECONDS, state):
                    file.write(block)
        write_json(folder / VERSION, {**state.origin._asdict(), "digest": state.digest})
        return state.digest

    def _answer(
        self, question: str, most: int, seconds: float, wanted: Registered | None = None
    ) -> Iterator[bytes]:
        """Ask, and give the answer piece by piece.

        Raises:
            Unavailable: if there is none, or a refusal, or it is too long, too slow or cut short.
        """
        request = urllib.request.Request(f"{self._base}/{question}", headers=self._headers)
        deadline = time.monotonic() + seconds
        size = 0
        try:
            with self._opener.open(request, timeout=PATIENCE) as answer:
                announced = answer.length or 0
                while block := answer.read1(BLOCK):
                    size += len(block)
                    if size > most:
                        raise Unavailable(f"{self._base} sends more than {most // MIB} MiB.")
                    if time.monotonic() > deadline:
                        raise Unavailable(f"{self._base} needs more than {seconds:g} seconds.")
                    yield block
                if size < announced:
                    raise Unavailable(f"{self._base} broke off its answer.")
        except HTTPError as error:
            error.close()
            raise self._refusal(error.code, wanted) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            said = getattr(reason, "strerror", None) or type(reason).__name__
            raise Unavailable(f"{self._base} does not answer: {said}.") from None

    def _refusal(self, status: int, wanted: Registered | None) -> Unavailable:
        """What an answer that is a refusal means."""
        if status in (401, 403):
            return Unavailable(
                f"{self._base} refuses to answer (HTTP {status}); set MLFLOW_TRACKING_USERNAME "
                "and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, or have the server "
                "started with that name among its `--allowed-hosts`."
            )
        if 300 <= status < 400:
            return Unavailable(
                f"{self._base} sends elsewhere (HTTP {status}); "
                f"name that address in {self._setting}."
            )
        if wanted:
            return Unavailable(
                f"{self._base} does not hand over version {wanted.origin.version} (HTTP {status}); "
                f"let the server itself read the files that it keeps ({wanted.store})."
            )
        if status in (400, 404):
            return Absent(
                f"There is no {self.shown} (HTTP {status}); "
                f"promote a version, or mend {self._setting}."
            )
        return Unavailable(f"{self._base} fails (HTTP {status}).")


def _opener(secure: bool) -> urllib.request.OpenerDirector:
    """What asks over HTTP: it knows proxies, but no files, and follows no redirect.

    Certificates are read only where they are needed, for that takes a while.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    if secure:
        opener.add_handler(urllib.request.HTTPSHandler())
    return opener


def _proof(user: str, environment: Mapping[str, str]) -> str:
    """The header that says who asks, from an address or the environment; empty if nobody.

    Raises:
        UserError: if it cannot be sent.
    """
    name, _, password = (unquote(part) for part in user.partition(":"))
    name = name or environment.get("MLFLOW_TRACKING_USERNAME", "")
    password = password or environment.get("MLFLOW_TRACKING_PASSWORD", "")
    token = environment.get("MLFLOW_TRACKING_TOKEN", "").strip()
    if name and password:
        return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"
    if not (token.isascii() and token.isprintable()):
        raise UserError("MLFLOW_TRACKING_TOKEN is no token: it holds other than plain letters.")
    return f"Bearer {token}" if token else ""


def _moment(milliseconds: Any) -> str:
    """When something was, from milliseconds since 1970, if that is what it is."""
    try:
        moment = datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return UNKNOWN
    return moment.isoformat(timespec="seconds")


def _word(text: str) -> str:
    """A word of a registry, if it is harmless wherever it may turn up."""
    return text if WORD.fullmatch(text) else UNKNOWN
