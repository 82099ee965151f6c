"""The two ways in which a command ends early on purpose, and what other errors say in short."""


class UserError(Exception):
    """A mistake that the user can mend: one sentence that says what is wrong and what to do."""

    exit_code = 2


class Refused(Exception):
    """A gate said no: the message names the gate, and by how much it was missed."""

    exit_code = 3


def shortly(error: Exception) -> str:
    """What an error says on its first line, or of which kind it is if it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
