"""The two ways in which a command ends early on purpose."""


class UserError(Exception):
    """A mistake that the user can mend: one sentence that says what is wrong and what to do."""

    exit_code = 2


class Refused(Exception):
    """A gate said no: the message names the gate, and by how much it was missed."""

    exit_code = 3
