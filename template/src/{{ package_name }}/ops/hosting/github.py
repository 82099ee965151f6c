"""GitHub, as far as a proposal needs it.

https://docs.github.com/en/rest/pulls/pulls
"""

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ..errors import UserError
from .proposal import Proposal
from .rest import ask


@dataclass(frozen=True)
class GitHub:
    """A repository on GitHub."""

    name: str
    """Owner and name, with a slash between them."""
    branch: str
    """What a pull request is to be merged into."""
    token: str
    site: str = "https://github.com"
    api: str = "https://api.github.com"
    user: str = "x-access-token"

    @property
    def repository(self) -> str:
        """Its address, for git."""
        return f"{self.site}/{self.name}.git"

    def propose(self, proposal: Proposal) -> str:
        """Open a pull request, or write the open one of its branch anew; gives its page."""
        owner = self.name.partition("/")[0]
        known = urlencode(
            {"state": "open", "head": f"{owner}:{proposal.branch}", "base": self.branch}
        )
        written = {"title": proposal.title, "body": proposal.text}
        pulls = f"{self.api}/repos/{self.name}/pulls"
        for pull in self._ask("GET", f"{pulls}?{known}"):
            return str(self._ask("PATCH", f"{pulls}/{pull['number']}", written)["html_url"])
        opened = {**written, "head": proposal.branch, "base": self.branch}
        return str(self._ask("POST", pulls, opened)["html_url"])

    def _ask(self, method: str, address: str, body: object = None) -> Any:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.token}",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        return ask(method, address, headers, body)


def host(token: str) -> GitHub:
    """The repository of the workflow that this runs in.

    Args:
        token: the variable that holds the token.

    Raises:
        UserError: if a variable that says so is missing.
    """
    variables = os.environ
    for name, value in (("GITHUB_REPOSITORY", "OWNER/NAME"), (token, "a token that may push")):
        if not variables.get(name):
            raise UserError(f"{name} is not set: let it be {value}.")
    return GitHub(
        name=variables["GITHUB_REPOSITORY"],
        branch=variables.get("GITHUB_REF_NAME", "main"),
        token=variables[token],
        site=variables.get("GITHUB_SERVER_URL", GitHub.site),
        api=variables.get("GITHUB_API_URL", GitHub.api),
    )
