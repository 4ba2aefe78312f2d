"""The tables of a log, and their rows.

intently_meta(key, value)               format, history, floor, folded
intently_entries(seq, …, checksum)      one row an entry
intently_readings(content, models, …)   what models of one fingerprint read in one text
intently_receipts(sender, key, …)       answers to changes that were sent with a key, until they expire
"""

import time
import zlib
from collections.abc import Iterator
from secrets import token_hex

from intently.errors import LogError
from intently.live.log.base import Position, Reading, Receipt
from intently.live.log.committer import Row, Store
from intently.live.log.entries import Entry, Kind

FORMAT = 1
COLUMNS = "seq, batch, at_ms, ad_id, kind, content, body, new_to, checksum"
INSERT = f"INSERT INTO intently_entries ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_READING = (
    "INSERT INTO intently_readings (content, models, body, checksum) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (content, models) DO NOTHING"
)
RECEIPT = "sender, key, fingerprint, until_ms, status, body"
INSERT_RECEIPT = (
    f"INSERT INTO intently_receipts ({RECEIPT}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (sender, key) DO UPDATE SET "
    "fingerprint = excluded.fingerprint, until_ms = excluded.until_ms, status = excluded.status, body = excluded.body"
)
SET = "INSERT INTO intently_meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
PAGE = 2_000  # rows that are read at once


def create_tables(store: Store, *, integer: str, blob: str) -> None:
    """Create the tables of an empty log."""
    for statement in (
        "CREATE TABLE IF NOT EXISTS intently_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS intently_entries (seq {integer} PRIMARY KEY, batch {integer} NOT NULL, "
        f"at_ms {integer} NOT NULL, ad_id TEXT NOT NULL, kind TEXT NOT NULL, content {blob}, body TEXT NOT NULL, "
        f"new_to TEXT NOT NULL, checksum {integer} NOT NULL)",
        "CREATE INDEX IF NOT EXISTS intently_entries_ad ON intently_entries (ad_id, seq)",
        "CREATE INDEX IF NOT EXISTS intently_entries_content ON intently_entries (content) WHERE content IS NOT NULL",
        f"CREATE TABLE IF NOT EXISTS intently_readings (content {blob} NOT NULL, models TEXT NOT NULL, "
        f"body {blob} NOT NULL, checksum {integer} NOT NULL, PRIMARY KEY (content, models))",
        "CREATE TABLE IF NOT EXISTS intently_receipts (sender TEXT NOT NULL, key TEXT NOT NULL, "
        f"fingerprint {blob} NOT NULL, until_ms {integer} NOT NULL, status {integer} NOT NULL, body {blob} NOT NULL, "
        "PRIMARY KEY (sender, key))",
        "CREATE INDEX IF NOT EXISTS intently_receipts_until ON intently_receipts (until_ms)",
    ):
        store.execute(statement)
    for key, value in {"format": str(FORMAT), "history": token_hex(8), "floor": "0", "folded": "0"}.items():
        store.execute("INSERT INTO intently_meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", (key, value))


def check_format(store: Store, place: str) -> None:
    """Raise `LogError` for tables that another version wrote."""
    if (found := meta_of(store).get("format")) != str(FORMAT):
        raise LogError(
            f"is a log of format {found}, not {FORMAT}", cure="open it with the version that wrote it", path=place
        )


def checked_entry(row: Row, place: str) -> Entry:
    """Return the entry of a row; raise `LogError` if its checksum is wrong."""
    seq, batch, at_ms, ad_id, kind, content, body, new_to, checksum = row
    try:
        entry = Entry(seq, batch, at_ms, ad_id, Kind(kind), None if content is None else bytes(content), body, new_to)
        if entry.checksum == checksum:
            return entry
    except (ValueError, TypeError):
        pass
    raise LogError(
        f"change {seq} has been altered (its checksum differs)", path=place,
        cure="the process that writes changes repairs the log when it starts; or `intently log DIR restore BACKUP`",
    )  # fmt: skip


def is_whole_reading(row: Row) -> bool:
    """Return whether the checksum of a reading is right."""
    return bool(zlib.crc32(bytes(row[2])) == row[3])


def entry_row(entry: Entry) -> Row:
    """Return an entry as a row of its table."""
    told = entry.seq, entry.batch, entry.at_ms, entry.ad_id, str(entry.kind), entry.content, entry.body
    return (*told, entry.new_to, entry.checksum)


def write_rows(
    store: Store, entries: list[Entry], readings: list[tuple[bytes, str, Reading]], receipts: list[Receipt]
) -> None:
    """Add entries, readings and receipts; remove receipts that have expired."""
    if entries:
        store.execute_many(INSERT, [entry_row(entry) for entry in entries])
    if readings:
        rows = [(content, models, each, zlib.crc32(each)) for content, models, each in readings]
        store.execute_many(INSERT_READING, rows)
    if receipts:
        store.execute("DELETE FROM intently_receipts WHERE until_ms < ?", (_now_ms(),))
        store.execute_many(INSERT_RECEIPT, [tuple(vars(receipt).values()) for receipt in receipts])


def receipt_of(store: Store, sender: str, key: str) -> Receipt | None:
    """Return a receipt that has not expired."""
    chosen = f"SELECT {RECEIPT} FROM intently_receipts WHERE sender = ? AND key = ? AND until_ms >= ?"
    for name, sent, fingerprint, until_ms, status, body in store.execute(chosen, (sender, key, _now_ms())):
        return Receipt(name, sent, bytes(fingerprint), until_ms, status, bytes(body))
    return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def replace_rows(store: Store, source: Store) -> None:
    """Put the content of another log in the place of this one's, in one transaction."""
    with store.transaction():
        store.execute("DELETE FROM intently_entries")
        store.execute("DELETE FROM intently_readings")
        store.execute("DELETE FROM intently_receipts")  # of changes that are no more
        copy_rows(source, store)
        for key, value in (("folded", "0"), ("history", token_hex(8))):
            store.execute(SET, (key, value))


def copy_rows(source: Store, target: Store) -> int:
    """Copy all entries and readings, and the floor, into an empty log; return the number of entries."""
    num = 0
    for rows in paged_entries(source):
        target.execute_many(INSERT, rows)
        num += len(rows)
    for rows in paged_readings(source):
        target.execute_many(INSERT_READING, rows)
    target.execute(SET, ("floor", meta_of(source).get("floor", "0")))
    return num


def paged_entries(store: Store) -> Iterator[list[Row]]:
    """Yield the rows of all entries in order, some at a time."""
    after = -1
    chosen = f"SELECT {COLUMNS} FROM intently_entries WHERE seq > ? ORDER BY seq LIMIT ?"
    while rows := store.execute(chosen, (after, PAGE)):
        yield rows
        after = rows[-1][0]


def paged_readings(store: Store) -> Iterator[list[Row]]:
    """Yield the rows of all readings, some at a time."""
    after: Row = (b"", "")
    chosen = "SELECT content, models, body, checksum FROM intently_readings "
    chosen += "WHERE (content, models) > (?, ?) ORDER BY content, models LIMIT ?"
    while rows := store.execute(chosen, (*after, PAGE)):
        yield rows
        after = rows[-1][:2]


def meta_of(store: Store) -> dict[str, str]:
    """Return what the log says of itself."""
    return dict(store.execute("SELECT key, value FROM intently_meta"))


def position_of(store: Store) -> Position:
    """Return where the log stands."""
    rows = store.execute(
        "SELECT (SELECT max(seq) FROM intently_entries), (SELECT value FROM intently_meta WHERE key = 'floor'), "
        "(SELECT value FROM intently_meta WHERE key = 'history')"
    )
    ((last, floor, history),) = rows
    floor = int(floor or 0)
    return Position(history or "", floor, max(last or 0, floor))


def problems_of(store: Store) -> Iterator[tuple[str, str]]:
    """Yield ("entry" or "reading", what is wrong with it or nothing) for every row."""
    for rows in paged_entries(store):
        for row in rows:
            try:
                checked_entry(row, "")
                yield "entry", ""
            except LogError as error:
                yield "entry", error.problem
    for rows in paged_readings(store):
        for row in rows:
            told = "" if is_whole_reading(row) else f"the reading of {bytes(row[0]).hex()} by {row[1]} has been altered"
            yield "reading", told
