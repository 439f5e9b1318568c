"""The errors that a user can mend."""


class UserError(Exception):
    """What happened, to which file or setting, and what to do: shown as it is, without a traceback."""


class HeldElsewhere(UserError):
    """Another process is writing to the same folder."""
