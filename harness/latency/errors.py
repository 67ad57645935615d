"""Why something was not timed: this machine lacks it, or what it computed was wrong."""

from harness.errors import InputError


class NotAvailable(InputError):
    """The machine or the installation cannot run it; the message has the reason and, where there is one, the remedy."""


class WrongOutput(RuntimeError):
    """A runtime's output differs from the eager network's, so its time means nothing."""
