"""A bundle in an MLflow registry, asked for over plain HTTP: no MLflow is needed here.

The registry hands over the files too, wherever it keeps them: on its disk, in a bucket, behind its
proxy. Nothing that it says becomes a path or an address here, it is believed no file that does not
have the digest that was registered, and no redirect takes a password elsewhere.
"""

import asyncio
import base64
import io
import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple
from urllib.parse import quote, unquote

import httpx
import msgspec

from ..bundle import ARRAYS, MANIFEST, MODEL, UNKNOWN, VERSION, Bundle, Origin
from ..errors import UserError, shortly
from ..files import write_json
from .locations import WORD, Absent, Unavailable

MIB = 1024**2

MOST_BYTES = {MODEL: 2048 * MIB, ARRAYS: 2048 * MIB, MANIFEST: 256 * MIB}
"""How long the files of a bundle may be. ONNX itself allows a model no more."""

MOST_ANSWER_BYTES = 4 * MIB
"""How long what a registry says of a version may be."""

PATIENCE = 10.0
"""Seconds that a registry may be silent, or may take to say what it knows of a version."""

MOST_SECONDS = 600.0
"""Seconds that a file may take to arrive."""

ADDRESS = re.compile(
    r"""(?P<scheme>https?://) ((?P<user>[^/?\#@\s]*)@)?
    (?P<host>([^/?\#@\s:\[]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[1-9][0-9]{0,4}))?(/[^?\#@\s]*)?)
    /(?P<name>[^/?\#@\s]+) (@(?P<alias>[A-Za-z0-9_.-]{1,64}) | /(?P<number>[1-9][0-9]{0,18}))""",
    re.VERBOSE,
)
MOST_PORT = 2**16 - 1
ALIAS = "api/2.0/mlflow/registered-models/alias"
NUMBER = "api/2.0/mlflow/model-versions/get"
DIGEST = re.compile(r"[0-9a-f]{64}")
ARTIFACT = "model-versions/get-artifact"


class Version(msgspec.Struct):
    """A version, as MLflow's REST API describes it."""

    version: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,18}\Z")]
    tags: list[dict[str, str]] = []
    source: str = ""
    creation_timestamp: Any = None


class Described(msgspec.Struct):
    """What MLflow answers when it is asked for a version."""

    model_version: Version


class Registered(NamedTuple):
    """What a registry says of a version."""

    origin: Origin
    digest: str
    store: str
    """The kind of place where it keeps the files, such as "s3"."""


class Registry:
    """A version of a model, by its number or by an alias that moves."""

    def __init__(self, where: str, setting: str = "BUNDLE") -> None:
        """Understand `http://host:5000/NAME@ALIAS` or `http://host:5000/NAME/VERSION`.

        Who asks is told by the address (user and password before the host) or as MLflow has it:
        MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.

        Args:
            where: the address.
            setting: what to mend if nothing is there.

        Raises:
            UserError: if it is no such address.
        """
        found = ADDRESS.fullmatch(where)
        if not found or not where.isprintable() or int(found["port"] or 0) > MOST_PORT:
            # The address is not repeated, for there may be a password in it.
            raise UserError(
                f"{setting} is neither a folder nor an address such as "
                "http://host:5000/NAME@champion or http://host:5000/NAME/3; mend it."
            )
        self._setting = setting
        self._base = found["scheme"] + found["host"]
        self._name = unquote(found["name"])
        if found["alias"]:
            self.shown = f"{self._base}/{quote(self._name)}@{found['alias']}"
            self._path, self._question = ALIAS, {"name": self._name, "alias": found["alias"]}
        else:
            self.shown = f"{self._base}/{quote(self._name)}/{found['number']}"
            self._path, self._question = NUMBER, {"name": self._name, "version": found["number"]}
        self._headers = {"Accept-Encoding": "identity"} | _proof(found["user"] or "", os.environ)
        # Certificates are read only where they are needed, for that takes a while.
        self._trust = ssl.create_default_context() if found["scheme"] == "https://" else False

    def state(self) -> Registered:
        """Which version there is, by one small question."""
        answer = io.BytesIO()
        self._download(self._path, self._question, answer, MOST_ANSWER_BYTES, PATIENCE)
        try:
            version = msgspec.json.decode(answer.getvalue(), type=Described).model_version
            tags = {tag["key"]: tag.get("value", "") for tag in version.tags}
        except (ValueError, LookupError, RecursionError):
            raise Unavailable(
                f"{self._base} does not answer as MLflow does; mend {self._setting}."
            ) from None
        digest = tags.get("bundle", "")
        if not DIGEST.fullmatch(digest):
            raise Unavailable(
                f"{self.shown} was not registered by `ops register`; it has no bundle."
            )
        if tags.get("status") == "refused":
            raise Absent(f"A gate refused {self.shown}, so it never serves; mend {self._setting}.")
        commit, data = (_word(tags.get(key, "")) for key in ("git.commit", "dvc.train"))
        created = _moment(version.creation_timestamp)
        store = _word(version.source.partition(":")[0])
        return Registered(Origin(version.version, commit, data, created), digest, store)

    def copy(self, state: Registered, folder: Path) -> None:
        """Have the registry hand over the files, wherever it keeps them."""
        self._copy(MANIFEST, state, folder)
        model = MODEL
        with suppress(Exception):  # of a broken manifest, of which `fetch` will say so
            model = Bundle(folder).model.name
        self._copy(model, state, folder)
        write_json(folder / VERSION, {**state.origin._asdict(), "digest": state.digest})

    def _copy(self, name: str, state: Registered, folder: Path) -> None:
        question = {"name": self._name, "version": state.origin.version, "path": name}
        with (folder / name).open("xb") as file:
            self._download(ARTIFACT, question, file, MOST_BYTES[name], MOST_SECONDS, state)

    def _download(
        self,
        path: str,
        question: Mapping[str, str],
        file: BinaryIO,
        most: int,
        seconds: float,
        wanted: Registered | None = None,
    ) -> None:
        """Ask, and write the answer to a file.

        `Unavailable` if there is none, or a refusal, or it is too long, too slow or cut short.
        """

        async def download() -> None:
            size = 0
            async with (
                asyncio.timeout(seconds),
                httpx.AsyncClient(
                    headers=self._headers, timeout=PATIENCE, verify=self._trust
                ) as client,
                client.stream("GET", f"{self._base}/{path}", params=question) as answer,
            ):
                if answer.status_code != httpx.codes.OK:
                    raise self._refusal(answer.status_code, wanted)
                async for part in answer.aiter_raw():
                    size += len(part)
                    if size > most:
                        raise Unavailable(f"{self._base} sends more than {most // MIB} MiB.")
                    file.write(part)

        try:
            asyncio.run(download())
        except TimeoutError:
            raise Unavailable(f"{self._base} needs more than {seconds:g} seconds.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{self._base} does not answer: {shortly(error)}.") from None

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


def _proof(user: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The header that says who asks, from an address or the environment; none if nobody does.

    A UserError if it cannot be sent.
    """
    name, _, password = (unquote(part) for part in user.partition(":"))
    name = name or environment.get("MLFLOW_TRACKING_USERNAME", "")
    password = password or environment.get("MLFLOW_TRACKING_PASSWORD", "")
    token = environment.get("MLFLOW_TRACKING_TOKEN", "").strip()
    if name and password:
        told = base64.b64encode(f"{name}:{password}".encode()).decode()
        return {"Authorization": f"Basic {told}"}
    if not (token.isascii() and token.isprintable()):
        raise UserError("MLFLOW_TRACKING_TOKEN is no token: it holds other than plain letters.")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _moment(milliseconds: Any) -> str:
    """When something was, from milliseconds since 1970, if that is what it is."""
    try:
        moment = datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return UNKNOWN
    return moment.isoformat(timespec="seconds")


def _word(text: str) -> str:
    """A word of a registry, if it is harmless wherever it may turn up."""
    return text if WORD.match(text) else UNKNOWN
