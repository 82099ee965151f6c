"""GitHub, as far as a proposal needs it: https://docs.github.com/en/rest/pulls/pulls."""

import os
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from .. import git
from .proposal import Host, variables


class GitHub(Host):
    """A repository on GitHub."""

    def open(self, branch: str, title: str, text: str) -> str:
        """Open a pull request, or write the open one of its branch anew; gives the page of it."""
        owner = urlsplit(self.requests).path.split("/")[-3]
        known = {"state": "open", "head": f"{owner}:{branch}", "base": self.branch}
        written = {"title": title, "body": text}
        for pull in self.ask("GET", f"?{urlencode(known)}"):
            return str(self.ask("PATCH", f"/{pull['number']}", written)["html_url"])
        opened = {**written, "head": branch, "base": self.branch}
        return str(self.ask("POST", body=opened)["html_url"])


def host(token: str) -> GitHub:
    """The repository of the workflow that this runs in; `token` names its variable."""
    name, secret = variables({"GITHUB_REPOSITORY": "OWNER/NAME", token: "a token that may push"})
    site = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    api = os.environ.get("GITHUB_API_URL", "https://api.github.com")
    return GitHub(
        repository=f"{site}/{name}.git",
        requests=f"{api}/repos/{name}/pulls",
        branch=os.environ.get("GITHUB_REF_NAME") or git.branch(Path()),
        user="x-access-token",
        token=secret,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {secret}",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
