"""Freed memory, which glibc and MKL keep: the one in pieces between what is in use, the other for every thread apart.

A long write frees gigabytes so, and leaves them with the process; a server has many threads. MKL, which makes torch's
products, keeps the buffers of every thread's largest ones, 4 MiB of each thread with a model as small as persona-nano,
until the thread ends, and a server's never end.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from contextlib import suppress

M_ARENA_MAX = -8  # of glibc's malloc.h
EVERY = 20.0  # seconds


def keep_together() -> None:
    """Have threads share what they have freed: apart it is half as much again as a server needs.

    To be called before torch is imported, which reads what MKL is told, and before there are threads. Where there is no
    glibc, or another library makes the products, nothing is done.
    """
    os.environ.setdefault("MKL_DISABLE_FAST_MM", "1")
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Give what is free back to the system; where there is no glibc nothing is done."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


async def keep_giving_back() -> None:
    """The same every so often, until cancelled."""
    while True:
        await asyncio.sleep(EVERY)
        await asyncio.to_thread(give_back)
