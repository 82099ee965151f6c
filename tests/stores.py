"""Places beyond the machine that data and models are kept at: real servers, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from render import ROOT
from servers import PATIENCE, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUCKET = "models"
TOOLS = Path(sys.executable).parent
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own; everybody knows it."""


@dataclass(frozen=True)
class Store:
    """A place for files, who is let in there, and who is not."""

    root: str
    """The address of a bucket or a folder."""
    variables: Mapping[str, str]
    """Of the environment, for somebody with the right key."""
    wrong: Mapping[str, str] = field(default_factory=dict)
    """The same, for somebody with a wrong one, where the server asks for a key."""
    refusal: str = ""
    """What such a person is told, among other things."""
    prepare: str = "pass"
    """Python that makes the place with the libraries of a project, where nobody else has."""


@contextmanager
def listening(command: list[str], port: int, log: Path, **variables: str) -> Iterator[None]:
    """A server that listens at a port, until the block ends."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, f"{command[0]} has ended:\n{log.read_text()}"
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, f"{command[0]} is silent:\n{log.read_text()}"
                time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # npm's programs run in a child of their launcher
        process.wait(PATIENCE)


@contextmanager
def s3(folder: Path, policy: Mapping[str, object], free: int = 4) -> Iterator[Store]:
    """moto, which holds everybody to the policy that they have.

    Args:
        folder: for what it says.
        policy: of the person with the right key.
        free: calls that need no permission; four make what is asked for here.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [str(TOOLS / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    log = folder / "moto.log"
    with listening(command, port, log, INITIAL_NO_AUTH_ACTION_COUNT=str(free)):
        whoever = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
        region = "us-east-1"
        reached = {"endpoint_url": address, "region_name": region, **whoever}
        boto3.client("s3", **reached).create_bucket(Bucket=BUCKET)
        people = boto3.client("iam", **reached)
        people.create_user(UserName="ada")
        document = json.dumps(policy)
        people.put_user_policy(UserName="ada", PolicyName="data", PolicyDocument=document)
        key = people.create_access_key(UserName="ada")["AccessKey"]
        known = {
            "AWS_ENDPOINT_URL": address,
            "AWS_REGION": region,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        wrong = {**known, "AWS_SECRET_ACCESS_KEY": "wrong"}
        yield Store(f"s3://{BUCKET}", known, wrong, "signature")


AWAY = 3.0
"""Seconds in which nobody is let in."""


@contextmanager
def away_at_first(address: str) -> Iterator[str]:
    """Another address of a server, which hangs up on everybody for some seconds.

    They begin with the first caller.
    """
    host, _, port = address.removeprefix("http://").partition(":")
    opens: list[float] = []

    class Caller(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            opens.append(time.monotonic() + AWAY)
            if time.monotonic() < opens[0]:
                return
            with socket.create_connection((host, int(port))) as behind:
                back = threading.Thread(target=_carry, args=(behind, self.request), daemon=True)
                back.start()
                _carry(self.request, behind)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Caller) as door:
        door.daemon_threads = True
        threading.Thread(target=door.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{door.server_address[1]}"
        door.shutdown()
    assert len(opens) > 1, "nobody asked again"


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Hand on what comes, until no more does."""
    with suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def azure(folder: Path) -> Iterator[Store]:
    """Azurite, which checks signatures."""
    port = free_port()
    program = ROOT / "build" / "node" / "node_modules" / ".bin" / "azurite-blob"
    options = f"--blobHost 127.0.0.1 --blobPort {port} --disableTelemetry --skipApiVersionCheck"
    command = [str(program), "--inMemoryPersistence", *options.split()]
    account = "devstoreaccount1"
    login = f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={{}};"
    login += f"BlobEndpoint=http://127.0.0.1:{port}/{account};"
    name = "AZURE_STORAGE_CONNECTION_STRING"
    with listening(command, port, folder / "azurite.log"):
        known, wrong = ({name: login.format(key)} for key in (KEY, KEY.replace("Eby8", "Eby9")))
        prepare = (
            "import os; from azure.storage.blob import BlobServiceClient as Service; "
            f"its = Service.from_connection_string(os.environ['{name}']); "
            f"its.get_container_client('{BUCKET}').exists() or its.create_container('{BUCKET}')"
        )
        place = f"azure://{BUCKET}"
        yield Store(place, known, wrong, "failed to authenticate", prepare)


@contextmanager
def gcs(folder: Path) -> Iterator[Store]:
    """gcp-storage-emulator, which lets everybody in."""
    port = free_port()
    program = [str(TOOLS / "gcp-storage-emulator"), "start", "--in-memory"]
    options = [f"--default-bucket={BUCKET}", "--host=127.0.0.1", f"--port={port}"]
    with listening([*program, *options], port, folder / "gcs.log"):
        emulated = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
        yield Store(f"gs://{BUCKET}", emulated)


@contextmanager
def ssh(folder: Path) -> Iterator[Store]:
    """A server that is reached by SSH, with keys alone."""
    port, program = free_port(), shutil.which("sshd") or "/usr/sbin/sshd"
    for name in ("host", "right", "wrong"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(key, check=True)
    (folder / "sshd.conf").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'right.pub'}\nPidFile none\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n"
        "Subsystem sftp internal-sftp\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    homes = {}
    for name in ("right", "wrong"):
        home = folder / f"home of {name}"
        (home / ".ssh").mkdir(parents=True)
        (home / ".ssh" / "config").write_text(
            f'Host storage\nHostName 127.0.0.1\nPort {port}\nIdentityFile "{folder / name}"\n'
        )
        homes[name] = {"HOME": str(home)}
    with listening([program, "-D", "-e", "-f", str(folder / "sshd.conf")], port, folder / "log"):
        place = f"ssh://storage{folder / 'remote'}"
        yield Store(place, homes["right"], homes["wrong"], "Permission denied")
