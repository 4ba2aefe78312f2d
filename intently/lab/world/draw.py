"""Drawing distinct queries: intents, their texts and styles, for the query log and for the judged queries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intently.errors import InputError
from intently.lab.world.latent import Bools, Intents, Language, Offers, sample_intents
from intently.lab.world.queries import QueryWriter, Style

Cell = tuple[Language, Style]

# Shares of the distinct queries in the log.
LOG_SHARES: Mapping[Cell, float] = {
    (Language.EN, Style.PLAIN): 0.19,
    (Language.EN, Style.SYNONYM): 0.14,
    (Language.EN, Style.COLLOQUIAL): 0.06,
    (Language.EN, Style.ABBREVIATED): 0.05,
    (Language.EN, Style.TYPO): 0.06,
    (Language.ZH, Style.PLAIN): 0.15,
    (Language.ZH, Style.SYNONYM): 0.11,
    (Language.ZH, Style.COLLOQUIAL): 0.05,
    (Language.ZH, Style.ABBREVIATED): 0.04,
    (Language.ZH, Style.TYPO): 0.05,
    (Language.ZH, Style.PINYIN): 0.04,
    (Language.MIXED, Style.MIXED): 0.06,
}
# Shares of the judged queries: more of what is hard, so that every style can be measured.
JUDGED_SHARES: Mapping[Cell, float] = {
    (Language.EN, Style.PLAIN): 0.13,
    (Language.EN, Style.SYNONYM): 0.11,
    (Language.EN, Style.COLLOQUIAL): 0.10,
    (Language.EN, Style.ABBREVIATED): 0.08,
    (Language.EN, Style.TYPO): 0.08,
    (Language.ZH, Style.PLAIN): 0.10,
    (Language.ZH, Style.SYNONYM): 0.09,
    (Language.ZH, Style.COLLOQUIAL): 0.06,
    (Language.ZH, Style.ABBREVIATED): 0.05,
    (Language.ZH, Style.TYPO): 0.05,
    (Language.ZH, Style.PINYIN): 0.07,
    (Language.MIXED, Style.MIXED): 0.08,
}
_BATCH = 65_536
_PATIENCE = 12  # batches in a row that yield next to nothing new before the vocabulary counts as used up


@dataclass(frozen=True, slots=True)
class Queries:
    """Distinct queries: what they mean, what they say, and in which style."""

    intents: Intents
    texts: list[str]
    styles: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)


def draw_queries(
    offers: Offers,
    writer: QueryWriter,
    shares: Mapping[Cell, float],
    count: int,
    rng: np.random.Generator,
    *,
    taken: set[str],
    accept: Callable[[Intents], Bools] | None = None,
    avoid: frozenset[str] = frozenset(),
) -> Queries:
    """Return `count` distinct queries whose languages and styles follow `shares`.

    Their texts, in lower case, are not in `taken`, and are added to it. Intents that `accept` refuses are left out, and
    so are queries that name their type by a phrase in `avoid`. Raises `InputError` when the vocabulary cannot say that
    many different things.
    """
    cells = list(shares)
    weights = np.array([shares[cell] for cell in cells])
    languages, cell_styles = np.array(cells, np.int32).T
    parts: list[Intents] = []
    styles: list[int] = []
    texts: list[str] = []
    idle = 0
    while len(texts) < count:
        size = min(_BATCH, 2 * (count - len(texts)) + 64)
        cell = rng.choice(len(cells), size, p=weights / weights.sum())
        style = cell_styles[cell]
        intents = sample_intents(offers, languages[cell], rng)
        intents = intents.without_values(style == Style.PINYIN)  # nobody spells an attribute that way,
        intents = intents.without_brand(style == Style.COLLOQUIAL)  # and who has only a need knows no brand
        if accept is not None:
            accepted = np.flatnonzero(accept(intents))
            intents, style = intents[accepted], style[accepted]
        written = writer.write(intents, style.tolist())
        fresh = []
        for row, (text, phrase) in enumerate(written):
            key = text.lower()
            if key not in taken and phrase.lower() not in avoid and len(texts) < count:
                taken.add(key)
                fresh.append(row)
                texts.append(text)
        rows = np.array(fresh, np.int64)
        parts.append(intents[rows])
        styles.extend(style[rows].tolist())
        idle = 0 if len(fresh) > size // 100 else idle + 1
        if idle > _PATIENCE:
            raise InputError(
                f"the vocabulary yields only {len(texts):,} of {count:,} distinct queries",
                cure="ask for fewer ads or judged queries, or add verticals",
            )
    return Queries(Intents.join(parts), texts, np.array(styles, np.int64))


def draw_judged(
    offers: Offers,
    writer: QueryWriter,
    count: int,
    rng: np.random.Generator,
    *,
    taken: set[str],
    accept: Callable[[Intents], Bools],
    avoid: frozenset[str],
) -> Queries:
    """Return `count` distinct queries with exactly the shares of `JUDGED_SHARES`, rounded; see `draw_queries`."""
    exact = {cell: share * count for cell, share in JUDGED_SHARES.items()}
    quota = {cell: int(number) for cell, number in exact.items()}
    for cell in sorted(exact, key=lambda cell: quota[cell] - exact[cell])[: count - sum(quota.values())]:
        quota[cell] += 1
    parts = [
        draw_queries(offers, writer, {cell: 1.0}, number, rng, taken=taken, accept=accept, avoid=avoid)
        for cell, number in quota.items()
        if number
    ]
    return Queries(
        Intents.join([part.intents for part in parts]),
        [text for part in parts for text in part.texts],
        np.concatenate([part.styles for part in parts]),
    )
