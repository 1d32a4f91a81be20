"""How many requests a minute a key may make."""

from __future__ import annotations

import time
from collections.abc import Callable


class Rates:
    """A bucket for each key: full at first, refilled evenly. ``clock``: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # by key: requests left, and when

    def take(self, key: str, per_minute: int) -> float:
        """Count one request of a key; the seconds until it may make one, 0 if it is let in."""
        now = self._clock()
        left, then = self._left.get(key, (float(per_minute), now))
        left = min(float(per_minute), left + (now - then) * per_minute / 60)
        self._left[key] = (left - 1 if left >= 1 else left, now)
        return 0.0 if left >= 1 else (1 - left) * 60 / per_minute
