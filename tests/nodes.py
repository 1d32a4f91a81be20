"""A Ray cluster of two nodes on this machine, for tests; they are left out, with the reason, where Ray is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def two_nodes(patch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """The address of a cluster of two nodes of one core each, and a function that takes the second away at once."""
    pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        yield cluster.address, lambda: cluster.remove_node(second, allow_graceful=False)
    finally:
        cluster.shutdown()
