"""The form of the query page: what a reader typed, as a request of the engine."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING

from intently.catalog import checked_user
from intently.errors import InputError, SettingsError
from intently.serve.wire import MAX_K
from intently.types import Channel, Request, UserContext

if TYPE_CHECKING:  # the engine loads everything that runs models
    from intently.engine.settings import RetrievalSettings

_USER = ("country", "language", "device", "time", "time_zone", "audiences")


@dataclass(frozen=True)
class Form:
    """The fields of the form as they were typed; empty ones say nothing. `vs_…` change the answer beside the first."""

    q: str = ""
    k: str = "10"
    channel: str = Channel.FUSED.value
    country: str = ""
    language: str = ""
    device: str = ""
    time: str = ""
    time_zone: str = ""
    audiences: str = ""
    filters: str = ""
    exclude: str = ""
    max_per: str = ""
    min_relevance: str = ""
    vs_generation: str = ""
    vs_channel: str = ""
    vs_beams: str = ""
    vs_fusion: str = ""
    vs_reading: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Form":
        """Return the form that an address tells."""
        return cls(**{each.name: given[each.name].strip() for each in fields(cls) if each.name in given})

    @property
    def has_user(self) -> bool:
        """Whether anything is said of the user or of conditions, so that the page shows these fields open."""
        return any(getattr(self, name) for name in (*_USER, "filters", "exclude", "max_per", "min_relevance"))

    @property
    def compares(self) -> bool:
        """Whether a second answer is wanted beside the first."""
        return any(getattr(self, each.name) for each in fields(self) if each.name.startswith("vs_"))

    def request(self) -> Request:
        """Return the request; raise `InputError` naming the field that is wrong."""
        try:
            time = datetime.fromisoformat(self.time) if self.time else None
        except ValueError:
            cure = "write it like 2026-11-30T18:00"
            raise InputError(f"{self.time[:40]!r} is not a time", cure=cure, field="time") from None
        user = UserContext(
            self.country or None, self.language or None, self.device or None, time,
            frozenset(_listed(self.audiences)) if self.audiences else None, self.time_zone or None,
        )  # fmt: skip
        checked_user(user)
        return Request(
            self.q,
            _number(self.k or "10", "k", MAX_K),
            user,
            self.channel,  # type: ignore[arg-type]  # which Request reads
            True,
            frozenset(_listed(self.exclude)),
            filters=self.filters or None,
            max_per={name: _number(most, "max_per", MAX_K) for name, most in map(_cap, _listed(self.max_per))},
            min_relevance=_probability(self.min_relevance, "min_relevance") if self.min_relevance else None,
        )

    def other_request(self, request: Request) -> Request:
        """Return the request that is answered beside the first; raise `InputError` for an unknown choice."""
        for name, known in (("vs_fusion", "reciprocal"), ("vs_reading", "decoded")):
            if getattr(self, name) not in ("", known):
                raise InputError(f"{getattr(self, name)[:20]!r} is not a choice", cure=f"use {known}", field=name)
        try:
            return replace(request, channel=self.vs_channel or request.channel)  # type: ignore[arg-type]
        except InputError as error:
            raise InputError(error.problem, cure=error.cure, field="vs_channel") from None

    def other_settings(self, settings: "RetrievalSettings") -> "RetrievalSettings":
        """Return the settings of the answer beside the first."""
        if not self.vs_beams:
            return settings
        try:
            num_beams = _number(self.vs_beams, "vs_beams", 100)
            return replace(settings, decode=replace(settings.decode, num_beams=num_beams))
        except SettingsError as error:
            raise InputError(str(error), field="vs_beams") from None


def _listed(text: str) -> list[str]:
    return [part for part in (each.strip() for each in text.split(",")) if part]


def _cap(text: str) -> tuple[str, str]:
    name, _, most = text.partition("=")
    return name.strip(), most.strip()


def _probability(text: str, field: str) -> float:
    try:
        return float(text)
    except ValueError:
        cure = "write a number from 0 to 1, such as 0.2"
        raise InputError(f"{text[:20]!r} is not a probability", cure=cure, field=field) from None


def _number(text: str, field: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most):
        cure = f"write a whole number from 1 to {most}"
        if field == "max_per":
            cure = f"write names with whole numbers from 1 to {most}: group_id=1, advertiser=2"
        raise InputError(f"{text[:20]!r} is not such a number", cure=cure, field=field)
    return int(text)
