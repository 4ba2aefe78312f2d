"""What of a log a build learns from, and how much each click counts."""

from dataclasses import dataclass

from intently.errors import SettingsError
from intently.settings import check_range

MAX_WEIGHT = 10.0  # of a click: the rare click far down a list would otherwise decide alone


@dataclass(frozen=True)
class LogSettings:
    """What of a log a build learns from. By default every click counts once, and nothing else says anything."""

    # Impressions without any click after which an ad counts as irrelevant to a query; None: never, as ads are often not
    # clicked for where or when they are shown.
    negative_after: int | None = None
    # η of the position-based model: a user looks at position p with probability p^-η, and a click there counts p^η, at
    # most 10 times. None: all clicks count alike. 1 is usual where positions are those of one column that users read
    # from above.
    position_bias: float | None = None

    def __post_init__(self) -> None:
        if self.negative_after is not None:
            check_range(self, "negative_after", low=1)
            if type(self.negative_after) is not int:
                raise SettingsError(f"'logs.negative_after' is {self.negative_after}; it takes a whole number")
        if self.position_bias is not None:
            check_range(self, "position_bias", high=3)
