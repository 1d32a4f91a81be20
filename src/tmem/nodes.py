"""A Ray cluster: processes on several machines, for what can be done apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tmem.errors import TmemError, UsageError


@contextmanager
def cluster(address: str) -> Iterator[Any]:
    """Ray, connected to the cluster at ``address`` (``auto``: the one of this machine).

    Raises :class:`UsageError` without Ray and for a cluster that cannot be reached; an error of ours that a process
    elsewhere raised inside is raised here as it was.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("several machines need the extra ray: pip install 'tmem[ray]'") from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError) as error:
        raise UsageError(f"there is no Ray cluster at {address} ({error}); ray start makes one") from None
    try:
        yield ray
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TmemError):
            raise error.cause from None
        raise
    finally:
        ray.shutdown()


def share(ray: Any) -> dict[str, float]:
    """What one process with a model takes of a cluster: a core, and a GPU where there are some."""
    return {"num_cpus": 1, "num_gpus": 1 if ray.cluster_resources().get("GPU") else 0}
