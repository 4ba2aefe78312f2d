"""Refusals, as RFC 9457 tells them: `application/problem+json` that names the field and the cure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from intently.errors import InputError, LogError, LogFullError

CONTENT_TYPE = "application/problem+json"


class ProblemBody(msgspec.Struct, omit_defaults=True):
    """Why a request was refused. `code` is for programs, `detail` and `cure` are for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str = ""
    cure: str = ""
    seq: int | None = None
    request_id: str = ""


class Problem(Exception):
    """A refusal. Everything that a client did wrong, or that the service cannot do now, is one."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str = "",
        cure: str = "",
        seq: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.code, self.detail, self.field, self.cure = status, code, detail, field, cure
        self.seq, self.headers = seq, dict(headers or {})
        super().__init__(f"{code}: {detail}")

    def body(self, request_id: str = "") -> bytes:
        """Return the refusal as JSON."""
        return msgspec.json.encode(
            ProblemBody(
                f"/docs#{self.code}", TITLES.get(self.code, self.code), self.status, self.code, self.detail,
                self.field, self.cure, self.seq, request_id,
            )
        )  # fmt: skip


TITLES = {
    "malformed_json": "The body is not JSON",
    "unknown_field": "A field does not exist",
    "missing_field": "A field is missing",
    "invalid_value": "A value is not valid",
    "invalid_utf8": "The text is not UTF-8",
    "invalid_cursor": "The cursor does not belong to this listing",
    "body_too_large": "The body is too large",
    "body_incomplete": "The body did not arrive",
    "wrong_content_type": "The body is of another type",
    "unauthorized": "No valid key",
    "forbidden": "The key may not do this",
    "unknown_ad": "There is no such ad",
    "unknown_list": "There is no such list",
    "unknown_path": "There is nothing at this address",
    "wrong_method": "The address takes other methods",
    "changed_meanwhile": "The ad, or the list, is another one by now",
    "key_reused": "The idempotency key belongs to another request",
    "key_in_use": "The first request with this key is still under way",
    "behind": "The change is not visible here yet",
    "over_quota": "The quota is used up",
    "overloaded": "The service has more to do than the deadline allows",
    "unusable_generation": "The generation cannot be used",
    "log_full": "The disk of the log of changes is full",
    "log_unavailable": "The log of changes cannot be written",
    "not_ready": "The service is not ready",
    "internal": "The service failed",
}

_AT = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.*?)`")
_MISSING = re.compile(r"missing required field `(.*?)`")
_NOT_UTF8 = re.compile("utf-8", re.IGNORECASE)


def of_input_error(error: InputError) -> Problem:
    """Return what the engine refused as a refusal of the service."""
    return Problem(400, "invalid_value", error.problem, field=error.field, cure=error.cure)


def of_json_error(error: msgspec.DecodeError, kinds: Mapping[str, Sequence[str]]) -> Problem:
    """Return why a body was not read. `kinds` are the fields of the object at each name; "" is the body itself."""
    told = str(error)
    if not isinstance(error, msgspec.ValidationError):
        if _NOT_UTF8.search(told):
            return Problem(400, "invalid_utf8", "the body is not valid UTF-8", cure="send UTF-8")
        return Problem(400, "malformed_json", told, cure="send one JSON value, with numbers that JSON has (no NaN)")
    at = _AT.search(told)
    place = at[1].replace("[...]", "[]") if at else ""
    told = _AT.sub("", told).replace("`", "")
    told = told[:1].lower() + told[1:]
    known = ", ".join(kinds.get(re.sub(r"\[\]|\[\d+\]", "", place).rpartition(".")[2], ()))
    cure = f"use {known}" if known else "see /openapi.json"
    for code, pattern in (("unknown_field", _UNKNOWN), ("missing_field", _MISSING)):
        if found := pattern.search(str(error)):
            field = f"{place}.{found[1]}" if place else found[1]
            return Problem(400, code, told, field=field, cure=cure if code == "unknown_field" else "give it a value")
    return Problem(400, "invalid_value", told, field=place, cure="see /openapi.json for what it takes")


def of_log_error(error: LogError) -> Problem:
    """Return the problem of a change that the log did not take: nothing of it was applied."""
    if isinstance(error, LogFullError):
        return Problem(507, "log_full", error.problem, cure=error.cure or "make room on the disk")
    return Problem(503, "log_unavailable", error.problem, cure=error.cure or "try again")


def decoded(decoder: Any, content: bytes, kinds: Mapping[str, Sequence[str]]) -> Any:
    """Return what a decoder reads in a body; raise `Problem` if it is not what was expected."""
    try:
        return decoder.decode(content)
    except msgspec.DecodeError as error:
        raise of_json_error(error, kinds) from None
    except RecursionError:
        raise Problem(400, "malformed_json", "too deeply nested", cure="send a flat value") from None
