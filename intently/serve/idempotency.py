"""Answers kept by `Idempotency-Key`, so that a request that is sent again is not applied again.

After the IETF draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header-07). The log
keeps answers together with changes; here are those of this process, and what is under way.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from time import time

from intently.live.log import Receipt
from intently.serve.problems import Problem

MAX_KEY_LENGTH = 255


@dataclass(frozen=True)
class Answer:
    """An answer as it was sent."""

    status: int
    body: bytes


@dataclass
class _Entry:
    fingerprint: bytes
    expires: float
    answer: Answer | None = None  # None while the first request is under way


def fingerprint_of(*parts: bytes) -> bytes:
    """Return what tells two requests apart."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


@dataclass
class Replays:
    """Answers by the sender and the key. All on one event loop."""

    keep_s: float = 86_400.0
    max_keys: int = 100_000
    clock: Callable[[], float] = time
    _entries: dict[tuple[str, str], _Entry] = field(default_factory=dict)  # the oldest first

    def begin(self, sender: str, key: str, fingerprint: bytes) -> Answer | None:
        """Return the answer that an equal request got, or None, and then `end` or `give_up` must follow.

        Raises `Problem`: 409 while the first request is under way, 422 if the key belongs to another request, 400 for a
        key that is no key, 503 if too many are kept.
        """
        if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
            cure = f"send 1 to {MAX_KEY_LENGTH} printable ASCII characters, such as a UUID"
            raise Problem(400, "invalid_value", "not an idempotency key", field="Idempotency-Key", cure=cure)
        self._drop_expired()
        entry = self._entries.get((sender, key))
        if entry is None:
            if len(self._entries) >= self.max_keys:
                oldest = next(iter(self._entries.values()))
                retry = str(max(1, int(oldest.expires - self.clock()) + 1))
                raise Problem(
                    503, "overloaded", f"{self.max_keys:,} idempotency keys are kept already", field="Idempotency-Key",
                    cure="send it without a key, or later", headers={"Retry-After": retry},
                )  # fmt: skip
            self._entries[sender, key] = _Entry(fingerprint, self.clock() + self.keep_s)
            return None
        _check_equal(entry.fingerprint, fingerprint)
        if entry.answer is None:
            raise Problem(
                409, "key_in_use", "the first request with this key has not been answered", field="Idempotency-Key",
                cure="wait, then send it again", headers={"Retry-After": "1"},
            )  # fmt: skip
        return entry.answer

    def of_receipt(self, receipt: Receipt | None, fingerprint: bytes) -> Answer | None:
        """Return the answer that the log kept, if it did; raise `Problem` 422 if it was to another request."""
        if receipt is None or receipt.until_ms <= self.clock() * 1000:
            return None
        _check_equal(receipt.fingerprint, fingerprint)
        return Answer(receipt.status, receipt.body)

    def until_ms(self) -> int:
        """Return when an answer of now expires, in milliseconds since 1970."""
        return int((self.clock() + self.keep_s) * 1000)

    def end(self, sender: str, key: str, answer: Answer) -> None:
        """Keep the answer."""
        self._entries[sender, key].answer = answer

    def give_up(self, sender: str, key: str) -> None:
        """Forget a request that had no effect: it may be sent again with the same key."""
        self._entries.pop((sender, key), None)

    def _drop_expired(self) -> None:
        now = self.clock()
        while self._entries:
            first = next(iter(self._entries))
            if self._entries[first].expires > now:
                return
            del self._entries[first]


def _check_equal(before: bytes, now: bytes) -> None:
    if before != now:
        raise Problem(422, "key_reused", "another request had this key", field="Idempotency-Key", cure="use a new key")
