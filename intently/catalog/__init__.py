"""Reading and validating ads, queries, judgements and runs."""

from intently.catalog.ads import ReadResult, read_ads
from intently.catalog.catalog import Catalog
from intently.catalog.day_parts import parse_day_parts
from intently.catalog.judgement_files import read_judgements, read_qrels
from intently.catalog.qrels import Judgements, Qrels
from intently.catalog.queries import Queries
from intently.catalog.query_files import read_queries
from intently.catalog.runs import Run, RunWriter, read_run, write_run
from intently.catalog.targeting_values import CheckedUser, checked_user

__all__ = [
    "Catalog",
    "CheckedUser",
    "Judgements",
    "Qrels",
    "Queries",
    "ReadResult",
    "Run",
    "RunWriter",
    "checked_user",
    "parse_day_parts",
    "read_ads",
    "read_judgements",
    "read_qrels",
    "read_queries",
    "read_run",
    "write_run",
]
