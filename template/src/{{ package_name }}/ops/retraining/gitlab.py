"""Where the pipeline proposes a retraining: its own project, on GitLab."""

from ..hosting import gitlab


def host() -> gitlab.GitLab:
    """The project of the pipeline that this runs in.

    Raises:
        UserError: if a variable that says so is missing.
    """
    return gitlab.host("RETRAIN_TOKEN")
