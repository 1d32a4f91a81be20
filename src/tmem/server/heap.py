"""Freed memory: glibc keeps it for the process, for each thread apart, and a server that writes frees a lot of it."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from contextlib import suppress

M_ARENA_MAX = -8  # of glibc's malloc.h
EVERY = 20.0  # seconds


def keep_together() -> None:
    """Have threads share what they have freed: apart it is half as much again as a server needs.

    To be called before there are threads; where there is no glibc it does nothing.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


async def give_back() -> None:
    """Every so often give what is free back to the system, until cancelled; where there is no glibc nothing is done."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            trim = ctypes.CDLL(None).malloc_trim
            while True:
                await asyncio.sleep(EVERY)
                await asyncio.to_thread(trim, 0)
