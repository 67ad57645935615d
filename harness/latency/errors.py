"""Why something was not timed: this machine cannot run it, or its output was wrong."""

from harness.errors import InputError


class NotAvailable(InputError):
    """The machine or the installation cannot run it; the message has the reason and the remedy, if there is one."""


class WrongOutput(RuntimeError):
    """A runtime's output differs from the eager network's, so its time means nothing."""
