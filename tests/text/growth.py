"""Whether work grows as its input does: compared at doubled lengths, by the processor time of this thread alone."""

import time
from collections.abc import Callable

FLOOR_S = 0.05  # below it a measurement says nothing
MAX_GROWTH = 3.0  # for twice the input: linear work takes 2 times as long, quadratic 4 times

# What users' text repeats: a character of each class, and pairs between which a pattern may hesitate.
REPEATED = (
    "a", "A", "7", "扫", "一", "é", "ß", "e\u0301", "٣", "²", "½", ".", "。", "!", "-", "~", "(", ")", '"', "”", "·",
    "|", "$", "™", "🔥", "\u200b", "\u00ad", " ", "\u3000", "\t", "\n", "\r\n", " \n", "a ", "a\n", "a-\n", "A\n",
    "扫\n", "a.", "A. ", "a. A", "?)", "。”", "1.", "1,", "7-", "1.a", "a1", "1a", "a|", "扫a", "扫1", "in.", "one ",
    "the\n", "\n-",
)  # fmt: skip


def repeated(text: str, length: int) -> str:
    """Return as much of a repeated text."""
    return (text * (length // len(text) + 1))[:length]


def assert_linear(work: Callable[[str], object], text: str, limit: int) -> None:
    """Assert that `work` on a repeated text of up to `limit` characters, twice as long, takes about twice as long.

    A busy machine makes single measurements too long and none too short, so that the shortest of several counts.
    """
    lengths = (limit // 4, limit // 2, limit)
    shortest = dict.fromkeys(lengths, float("inf"))
    for _ in range(5):
        for length in lengths:
            argument = repeated(text, length)
            begun = time.thread_time()
            work(argument)
            shortest[length] = min(shortest[length], time.thread_time() - begun)
        times = [max(shortest[length], FLOOR_S) for length in lengths]
        if times[1] <= MAX_GROWTH * times[0] and times[2] <= MAX_GROWTH * times[1]:
            return
    raise AssertionError(f"{limit:,} characters of {text!r}: {', '.join(f'{each:.3f}' for each in times)} s")
