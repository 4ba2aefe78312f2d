"""Queries: an id and a text each."""

from dataclasses import dataclass

from intently.catalog.fields import Field
from intently.catalog.logs.columns import SEARCH_TERMS
from intently.errors import InputError

MAX_QUERY_LENGTH = 10_000
QUERY_ID = Field("query_id", aliases=("qid",), required=True)
QUERY = Field("query", aliases=("query_text", "user_query", *SEARCH_TERMS, "q"), required=True)


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries in order: distinct `ids` (Q,), their `texts` (Q,), and the wrong rows of the file."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    num_skipped: int = 0
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.texts):
            raise InputError(f"{len(self.ids)} ids for {len(self.texts)} queries", cure="give each query one id")

    def __len__(self) -> int:
        return len(self.ids)
