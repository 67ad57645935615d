"""What a running command has started, and on which ports it listens, as the operating system reports it."""

import signal
from pathlib import Path

from harness.backends.reaper import descendants, started

LISTEN = "0A"


def heeding_ctrl_c():
    """For ``preexec_fn``: background processes ignore Ctrl-C and hang-ups, and would pass that on to their children."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def tree(pid):
    """A process and all of its descendants."""
    return [pid, *sorted(child for child, _ in descendants([pid], set()))]


def is_alive(pid):
    return started(pid) is not None


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def environment_of(pid):
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(entry.decode(errors="replace").split("=", 1) for entry in entries if b"=" in entry)


def listening(pids):
    """{port: (pid, hexadecimal address)} of every TCP port that one of the processes listens on."""
    owners = {}
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                owners[target[8:-1]] = pid
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == LISTEN and fields[9] in owners:
                found[int(port, 16)] = owners[fields[9]], address
    return found
