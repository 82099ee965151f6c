"""`ops login`: a pipeline's login to the cloud, by what its host signs (OpenID Connect).

The token is written where the cloud's own library looks for it; it lives for minutes, so each
target that needs one asks anew.
"""

import json
import os
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path

from ..errors import UserError
from ..files import write_json, write_text
from ..project import Project

PATIENCE = 10.0  # seconds that the host has to answer


def run(project: Project, audience: str) -> None:
    """Write the token of this job to `build/login`, and what leads Google's library to it.

    Raises:
        UserError: if the host gives none.
    """
    folder = project.root / "build" / "login"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_text(folder / "token", os.environ.get("ID_TOKEN") or _signed(audience))
    if audience.startswith("//iam.googleapis.com/"):
        account = os.environ.get("GOOGLE_SERVICE_ACCOUNT", "")
        write_json(folder / "google.json", _google(audience, account, folder / "token"))


def _signed(audience: str) -> str:
    """What the host signs for a job that has the permission `id-token: write`."""
    address = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
    secret = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
    asked = urllib.request.Request(
        f"{address}&audience={urllib.parse.quote(audience, safe='')}",
        headers={"Authorization": f"Bearer {secret}"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:  # nosec B310
            return str(json.load(answer)["value"])
    except (OSError, HTTPException, LookupError, ValueError) as error:
        raise UserError(f"The host signs no token: {error}; has the job `id-token`?") from None


def _google(audience: str, account: str, token: Path) -> dict[str, object]:
    """A login of Google's: what a token is exchanged for, and where."""
    impersonated = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
    return {
        "type": "external_account",
        "audience": audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",  # nosec B105
        "token_url": "https://sts.googleapis.com/v1/token",  # nosec B105
        "service_account_impersonation_url": f"{impersonated}/{account}:generateAccessToken",
        "credential_source": {"file": str(token)},
    }
