"""Keys: who may do what, and how much.

A file of keys is TOML. A key is a secret that only its holder knows; the file has its SHA-256:

    [[key]]
    name = "front-end"          # what logs say; two keys of one name are both valid, for rotation
    sha256 = "9f86d081…"
    role = "read"               # read < write < admin
    advertiser = ""             # if set: sees and changes this advertiser's ads only
    quota_ms_per_s = 500.0      # model milliseconds a second; 0: no limit
    burst_ms = 5000.0
    dry_run = false             # true: only count what would be refused
"""

import hashlib
import hmac
import math
import secrets
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from time import monotonic

from intently.errors import SettingsError
from intently.serve.problems import Problem
from intently.settings import check_choice, check_range, from_mapping

_PREFIX = "intently_"  # by which scanners of leaked secrets may know one


class Role(StrEnum):
    """What a key may do; each role may do what the ones before it may."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Return whether this role may do what another may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class Key:
    """One entry of the file."""

    name: str = ""
    sha256: str = ""
    role: Role = Role.READ
    advertiser: str = ""
    quota_ms_per_s: float = 0.0
    burst_ms: float = 5_000.0
    dry_run: bool = False

    def __post_init__(self) -> None:
        check_choice(self, "role", Role)
        check_range(self, "quota_ms_per_s")
        check_range(self, "burst_ms", exclusive=True)
        if not self.name:
            raise SettingsError("'name' is empty; it takes the name that logs show")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise SettingsError("'sha256' takes 64 hexadecimal digits, as `intently key` prints them")


class Bucket:
    """A quota of model milliseconds that fills at a steady rate. What was used may exceed it once, and is paid back."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = monotonic) -> None:
        self.rate, self.burst, self._clock = rate, burst, clock
        self._left, self._at = burst, clock()

    @property
    def left_ms(self) -> float:
        """Milliseconds that may be used now."""
        now = self._clock()
        self._left = min(self.burst, self._left + self.rate * (now - self._at))
        self._at = now
        return self._left

    @property
    def wait_s(self) -> float:
        """Seconds until something may be used again."""
        return max(0.0, -self.left_ms / self.rate)

    def use(self, spent_ms: float) -> None:
        """Take what a request has used."""
        self._left = self.left_ms - spent_ms


@dataclass
class Principal:
    """Who sends a request."""

    key: Key
    bucket: Bucket | None = None

    @property
    def name(self) -> str:
        """The name that logs show."""
        return self.key.name

    def require(self, role: Role) -> None:
        """Raise `Problem` 403 unless the key may do what `role` may."""
        if not self.key.role.includes(role):
            raise Problem(
                403, "forbidden", f"the key {self.name!r} has the role {self.key.role}", cure=f"use a key with {role}"
            )

    def headers(self) -> dict[str, str]:
        """Return what is left of the quota, as the draft of the RateLimit fields has it."""
        if self.bucket is None:
            return {}
        window = math.ceil(self.bucket.burst / self.bucket.rate)
        left = max(0, int(self.bucket.left_ms))
        refill = math.ceil((self.bucket.burst - self.bucket.left_ms) / self.bucket.rate)
        return {
            "RateLimit-Policy": f'"model-ms";q={int(self.bucket.burst)};w={window}',
            "RateLimit": f'"model-ms";r={left};t={refill}',
        }


ANYBODY = Principal(Key("anybody", "0" * 64, Role.ADMIN))


@dataclass
class Keys:
    """The keys that are valid now. Without a file, anybody may do everything."""

    path: Path | None = None
    _principals: list[Principal] = field(default_factory=list)
    _seen: bytes = b""

    def __post_init__(self) -> None:
        self.reload()

    def reload(self) -> bool:
        """Read the file again if it changed; return whether it did. Raises `SettingsError` and keeps the old keys."""
        if self.path is None:
            return False
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{self.path}: cannot be read ({error.strerror})") from error
        if content == self._seen:
            return False
        before = {one.key: one for one in self._principals}  # quotas go on where a key did not change
        self._principals = [before.get(key) or _principal(key) for key in read_keys(self.path, content)]
        self._seen = content
        return True

    def principal(self, authorization: str | None) -> Principal:
        """Return who sends this header. Raises `Problem` 401. Compares with every key, in constant time."""
        if self.path is None:
            return ANYBODY
        scheme, _, secret = (authorization or "").partition(" ")
        digest = digest_of(secret.strip())
        found = None
        for one in self._principals:
            if hmac.compare_digest(one.key.sha256, digest):
                found = one
        if found is None or scheme.lower() != "bearer":
            raise Problem(
                401, "unauthorized", "no valid key", cure="send Authorization: Bearer and a key of this service",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        return found


def _principal(key: Key) -> Principal:
    return Principal(key, Bucket(key.quota_ms_per_s, key.burst_ms) if key.quota_ms_per_s else None)


def read_keys(path: Path, content: bytes) -> list[Key]:
    """Return the keys of a file's content; raise `SettingsError` naming the file and the wrong entry."""
    try:
        told = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML ({error})") from error
    entries = told.pop("key", [])
    if told or not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise SettingsError(f"{path}: expected tables [[key]] and nothing else")
    return [from_mapping(Key, each, f"{path}: key {at}") for at, each in enumerate(entries, start=1)]


def digest_of(secret: str) -> str:
    """Return a secret as a file of keys holds it. Secrets are random, so one pass of SHA-256 cannot be guessed back."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def new_secret() -> str:
    """Return a new random secret of 256 bits."""
    return _PREFIX + secrets.token_urlsafe(32)
