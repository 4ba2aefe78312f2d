"""Settings of the service."""

from dataclasses import dataclass

from intently.settings import check_range


@dataclass(frozen=True)
class ServeSettings:
    """How much the service takes on, and how long it waits."""

    read_threads: int = 1  # that answer queries; each runs one batch
    write_threads: int = 2  # that apply changes
    max_batch: int = 16  # queries that wait and are then answered together
    deadline_ms: float = 100.0  # of a query that names none
    max_deadline_ms: float = 10_000.0  # the longest that a query may name; that of a list of queries that names none
    max_write_wait_ms: float = 10_000.0  # a change that would wait longer is refused
    max_body_bytes: int = 4_000_000  # of every request but bulk
    max_bulk_lines: int = 1_000_000
    bulk_chunk: int = 1_000  # lines that are applied at once
    max_bulks: int = 4  # that are read at the same time
    body_timeout_s: float = 30.0  # without a byte of a body
    idempotency_hours: float = 24.0  # that the answer to an `Idempotency-Key` is kept
    max_idempotency_keys: int = 100_000  # kept at once; more are refused until some expire
    refresh_s: float = 2.0  # between looks for a new generation and for new keys
    cache_queries: int = 10_000  # whose intentions the process keeps, if no server does; 0 for none
    cache_timeout_ms: float = 5.0  # of a look into the shared cache; one that takes longer closes it for a while
    cache_hours: float = 24.0  # that the shared cache keeps the intentions of a query
    answers: str = ""  # a file to which a record of each answer is appended, for estimates; empty for none
    drain_delay_s: float = 2.0  # after SIGTERM, in which the service answers as before while `/readyz` says 503
    drain_timeout_s: float = 25.0  # for what is under way after that

    def __post_init__(self) -> None:
        check_range(self, "read_threads", "write_threads", "max_batch", "bulk_chunk", "max_bulks", low=1, high=10_000)
        check_range(self, "max_body_bytes", "max_bulk_lines", "max_idempotency_keys", low=1)
        check_range(self, "deadline_ms", "max_deadline_ms", "max_write_wait_ms", "body_timeout_s", exclusive=True)
        check_range(self, "refresh_s", "idempotency_hours", "cache_timeout_ms", "cache_hours", exclusive=True)
        check_range(self, "cache_queries")
        check_range(self, "drain_delay_s", "drain_timeout_s")
