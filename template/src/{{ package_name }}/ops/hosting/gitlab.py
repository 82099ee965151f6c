"""GitLab, as far as a proposal needs it.

https://docs.gitlab.com/api/merge_requests
"""

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ..errors import UserError
from .proposal import Proposal
from .rest import ask

VARIABLES = (
    ("CI_API_V4_URL", "https://gitlab.com/api/v4"),
    ("CI_PROJECT_ID", "the number of the project"),
    ("CI_PROJECT_URL", "the project's page"),
)
RIGHTS = "an access token with the scopes api and write_repository"


@dataclass(frozen=True)
class GitLab:
    """A project on GitLab."""

    api: str
    project: str
    page: str
    branch: str
    """What a merge request is to be merged into."""
    token: str
    user: str = "oauth2"

    @property
    def repository(self) -> str:
        """Its address, for git."""
        return f"{self.page}.git"

    def propose(self, proposal: Proposal) -> str:
        """Open a merge request, or write the open one of its branch anew; gives its page."""
        branches = {"source_branch": proposal.branch, "target_branch": self.branch}
        written = {"title": proposal.title, "description": proposal.text}
        requests = f"{self.api}/projects/{self.project}/merge_requests"
        for known in self._ask("GET", f"{requests}?{urlencode({'state': 'opened', **branches})}"):
            return str(self._ask("PUT", f"{requests}/{known['iid']}", written)["web_url"])
        opened = {**written, **branches, "remove_source_branch": True}
        return str(self._ask("POST", requests, opened)["web_url"])

    def _ask(self, method: str, address: str, body: object = None) -> Any:
        return ask(method, address, {"PRIVATE-TOKEN": self.token}, body)


def host(token: str) -> GitLab:
    """The project of the pipeline that this runs in.

    Args:
        token: the variable that holds the token.

    Raises:
        UserError: if a variable that says so is missing.
    """
    variables = os.environ
    for name, value in (*VARIABLES, (token, RIGHTS)):
        if not variables.get(name):
            raise UserError(f"{name} is not set: let it be {value}.")
    return GitLab(
        api=variables["CI_API_V4_URL"],
        project=variables["CI_PROJECT_ID"],
        page=variables["CI_PROJECT_URL"],
        branch=variables.get("CI_COMMIT_REF_NAME", "main"),
        token=variables[token],
    )
