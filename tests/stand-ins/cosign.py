"""cosign without its servers: a local key signs statements of in-toto, in DSSE envelopes.

They are kept in a folder. There are `sign`, `attest`, `verify` and `verify-attestation`, with the
options that deploy/image.mk gives. COSIGN_SIGNER says what a certificate would say of who signs:
identity and issuer.
"""

import argparse
import base64
import json
import os
import re
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
TYPES = {
    "cyclonedx": "https://cyclonedx.org/bom",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
}

folder = Path(os.environ["COSIGN_STORE"])
key = Ed25519PrivateKey.from_private_bytes((folder / "key").read_bytes())


def encoded(payload: bytes) -> bytes:
    """What is signed of an envelope: its type and its payload, each with its length."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)


def kept(digest: str, kind: str) -> Path:
    """Where a statement of this kind about an image is kept."""
    return folder / f"{digest}.{kind.partition('://')[2].replace('/', '-')}.json"


def sign(name: str, digest: str, kind: str, predicate: object) -> None:
    """Keep a signed statement about an image."""
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}}],
        "predicateType": kind,
        "predicate": predicate,
    }
    payload = json.dumps(statement).encode()
    envelope = {
        "payloadType": PAYLOAD,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": base64.b64encode(key.sign(encoded(payload))).decode()}],
        "signer": os.environ["COSIGN_SIGNER"],
    }
    kept(digest, kind).write_text(json.dumps(envelope))


def verify(name: str, digest: str, kind: str, signer: str) -> None:
    """Fail unless a statement of this kind about this image is there, as this signer has signed it.

    Exactly this one, letter by letter.
    """
    file = kept(digest, kind)
    if not file.exists():
        sys.exit("cosign: no signatures found")
    envelope = json.loads(file.read_text())
    if envelope["signer"] != signer:
        sys.exit(f"cosign: none of the expected identities matched, got {envelope['signer']}")
    payload = base64.b64decode(envelope["payload"])
    try:
        key.public_key().verify(
            base64.b64decode(envelope["signatures"][0]["sig"]), encoded(payload)
        )
    except InvalidSignature:
        sys.exit("cosign: the signature does not fit")
    subject = {"name": name, "digest": {"sha256": digest}}
    assert json.loads(payload)["subject"] == [subject]


parser = argparse.ArgumentParser(prog="cosign")
parser.add_argument("act", choices=["sign", "attest", "verify", "verify-attestation"])
parser.add_argument("image")
parser.add_argument("--yes", action="store_true")
parser.add_argument("--type", choices=TYPES)
parser.add_argument("--predicate", choices=["-"])
parser.add_argument("--certificate-identity")
parser.add_argument("--certificate-oidc-issuer")
options = parser.parse_args()

found = re.fullmatch(r"(.+)@sha256:([0-9a-f]{64})", options.image)
if not found:
    sys.exit("cosign: name the image by its digest")
name, digest = found.groups()
about = TYPES.get(options.type, "https://sigstore.dev/cosign/sign/v1")
if options.act.startswith("verify"):
    if not (options.certificate_identity and options.certificate_oidc_issuer):
        sys.exit("cosign: say who must have signed")
    signer = f"{options.certificate_identity} {options.certificate_oidc_issuer}"
    verify(name, digest, about, signer)
else:
    signed = json.load(sys.stdin) if options.predicate else {}
    sign(name, digest, about, signed)
