"""The errors that a user can fix, and the one that a user makes. Imports nothing.

The exit codes are those of `python -m resnet`.
"""


class UserError(Exception):
    """What happened, to which file or setting, and what to do: shown as it is, without a traceback."""

    exit_code = 1


class LockedElsewhere(UserError):
    """Another process is writing to the same folder."""

    exit_code = 10


class Passing(UserError):
    """What may pass by itself, such as a network disk that is away: the same command is worth another attempt."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


class Stalled(Passing):
    """Work that made no progress for so long that it was stopped."""


def is_interruption(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused an error. While they are imported, some libraries turn it into an error of their own."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
