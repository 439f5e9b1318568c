"""The errors that a user can fix, and the one that a user makes. Imports nothing."""


class UserError(Exception):
    """What happened, to which file or setting, and what to do: shown as it is, without a traceback."""


EXIT_STALLED = 75  # EX_TEMPFAIL of sysexits.h: try again


class Stalled(UserError):
    """Work that made no progress for so long that it was stopped: to be tried again."""


class LockedElsewhere(UserError):
    """Another process is writing to the same folder."""


def is_interruption(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused an error. While they are imported, some libraries turn it into an error of their own."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
