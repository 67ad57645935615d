"""The options of ``run``, checked before anything heavy is imported."""

from __future__ import annotations

from harness.errors import InputError


def check_options(backend: str, address: str | None, *, quiet: bool, verbose: bool) -> None:
    """Refuse options that are unknown or exclude each other."""
    if backend not in ("tune", "inline"):
        raise InputError(f"--backend {backend}: allowed are tune and inline")
    if address is not None and backend == "inline":
        raise InputError(f"--address {address}: the inline backend joins no cluster; leave one of the two out")
    if quiet and verbose:
        raise InputError("--quiet and --verbose: give one of the two")


def check_address(address: str | None) -> None:
    """Refuse an absent or inaccessible cluster before torch is imported; Ray is imported only if something answers."""
    if address in (None, "local"):
        return
    from harness.backends import address as cluster

    cluster.check_address(str(address))
    from harness.backends.join_ray import check_entry

    check_entry(str(address))
