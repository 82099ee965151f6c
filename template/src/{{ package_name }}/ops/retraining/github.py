"""Where the workflow proposes a retraining: its own repository, on GitHub."""

from ..hosting import github


def host() -> github.GitHub:
    """The repository of the workflow that this runs in.

    Raises:
        UserError: if a variable that says so is missing.
    """
    return github.host("GITHUB_TOKEN")
