"""The errors that a user can fix."""


class UserError(Exception):
    """What happened, to which file or setting, and what to do: shown as it is, without a traceback."""


class LockedElsewhere(UserError):
    """Another process is writing to the same folder."""
