"""GitLab, as far as a proposal needs it: https://docs.gitlab.com/api/merge_requests."""

import os
from pathlib import Path
from urllib.parse import urlencode

from .. import git
from .proposal import Host, variables

NEEDED = {
    "CI_API_V4_URL": "https://gitlab.com/api/v4",
    "CI_PROJECT_ID": "the number of the project",
    "CI_PROJECT_URL": "the project's page",
}


class GitLab(Host):
    """A project on GitLab."""

    def open(self, branch: str, title: str, text: str) -> str:
        """Open a merge request, or write the open one of its branch anew; gives the page of it."""
        branches = {"source_branch": branch, "target_branch": self.branch}
        written = {"title": title, "description": text}
        for known in self.ask("GET", f"?{urlencode({'state': 'opened', **branches})}"):
            return str(self.ask("PUT", f"/{known['iid']}", written)["web_url"])
        opened = {**written, **branches, "remove_source_branch": True}
        return str(self.ask("POST", body=opened)["web_url"])


def host(token: str) -> GitLab:
    """The project of the pipeline that this runs in; `token` names its variable."""
    rights = "an access token with the scopes api and write_repository"
    api, number, page, secret = variables({**NEEDED, token: rights})
    return GitLab(
        repository=f"{page}.git",
        requests=f"{api}/projects/{number}/merge_requests",
        branch=os.environ.get("CI_COMMIT_REF_NAME") or git.branch(Path()),
        user="oauth2",
        token=secret,
        headers={"PRIVATE-TOKEN": secret},
    )
