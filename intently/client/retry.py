"""When a request is sent again."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_AGAIN = frozenset((408, 429, 502, 503, 504))


@dataclass(frozen=True)
class Retry:
    """How often, and after how long, a request is sent again.

    The service's `Retry-After` is a lower bound. Beside it, each wait is random, up to a bound that doubles, so that
    clients that were refused together do not come back together.
    """

    attempts: int = 4  # all in all
    first_s: float = 0.1  # bound of the first wait
    longest_s: float = 10.0  # of one wait; a service that asks for more is not asked again
    random: Callable[[], float] = random.random

    def wait_s(self, attempt: int, status: int, headers: Mapping[str, str]) -> float | None:
        """Return the seconds to wait after attempt number `attempt` from 1, None if it was the last one.

        `status` is 0 if there was no answer.
        """
        if attempt >= self.attempts or (status and status not in _AGAIN and not _is_under_way(status, headers)):
            return None
        wait: float = self.random() * min(self.longest_s, self.first_s * 2 ** (attempt - 1))
        asked = headers.get("retry-after", "")
        if asked.isascii() and asked.isdigit():
            if int(asked) > self.longest_s:
                return None
            wait += int(asked)
        return wait


def _is_under_way(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether an equal request has not been answered: a conflict that says when to come back."""
    return status == 409 and "retry-after" in headers
