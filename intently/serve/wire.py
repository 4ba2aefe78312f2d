"""The bodies of requests and answers. The OpenAPI description is made from these types.

Rankings, verdicts and ads are answered as they are in `intently.types`.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from intently.catalog import checked_user
from intently.catalog.columns import MAX_LENGTHS, MAX_LIST_LENGTH, MAX_OTHER_LENGTH
from intently.errors import InputError
from intently.filters import MAX_LENGTH as MAX_FILTER_LENGTH
from intently.frozen import EMPTY, frozen
from intently.live.changes import MAX_LISTED
from intently.serve.problems import of_input_error
from intently.types import MAX_COLUMNS, MAX_EXCLUDED, MAX_QUERY_LENGTH, Ad, Channel, Request, Span, UserContext, Verdict

MAX_K = 500
MAX_QUERIES = 100  # in one list
MAX_EXPLAINED = 100  # ads in one request
MAX_PAGE = 1_000  # ads on one page
MAX_SEQ = 2**53  # the largest whole number that every JSON parser reads exactly


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A body that refuses unknown fields."""


class UserBody(Body):
    """Who is asking. What is left out filters nothing."""

    country: str | None = None
    language: str | None = None
    device: str | None = None
    time: datetime | None = None
    time_zone: str | None = None
    audiences: Annotated[list[str], Meta(max_length=MAX_LIST_LENGTH)] | None = None
    attributes: Annotated[dict[str, Any], Meta(description="what else the targeting of ads may ask about")] = {}

    def context(self) -> UserContext:
        """Return the user as the engine knows users; raise `InputError` for a value that is not understood."""
        audiences = None if self.audiences is None else frozenset(self.audiences)
        attributes = frozen(self.attributes, "attributes")  # equal requests are found by their hash, and answered once
        user = UserContext(self.country, self.language, self.device, self.time, audiences, self.time_zone, attributes)
        checked_user(user)
        return user


class QueryBody(Body):
    """A query and how to answer it."""

    query: Annotated[str, Meta(min_length=1, max_length=MAX_QUERY_LENGTH)]
    k: Annotated[int, Meta(ge=1, le=MAX_K)] = 10
    user: UserBody | None = None
    channel: Channel = Channel.FUSED
    exclude: Annotated[list[str], Meta(max_length=MAX_EXCLUDED)] = []
    explain: bool = False
    filters: Annotated[str, Meta(max_length=MAX_FILTER_LENGTH, examples=["price < 50"])] | None = None
    payload: Annotated[list[str], Meta(max_length=MAX_COLUMNS, description="columns to return with each ad")] = []
    max_per: Annotated[dict[str, int], Meta(max_length=MAX_COLUMNS, description="most ads of one value")] = {}
    min_relevance: Annotated[float, Meta(ge=0, le=1, description="leave out ads of a lower probability")] | None = None
    deadline_ms: Annotated[float, Meta(gt=0, description="by default, and at most, as /v1/limits tells")] | None = None
    min_seq: Annotated[int, Meta(ge=0, le=MAX_SEQ, description="wait until the answer shows this change")] = 0

    def request(self) -> Request:
        """Return the request as the engine takes it, without its deadline; raise `InputError` for a wrong value."""
        user = None if self.user is None else self.user.context()
        return Request(
            self.query, self.k, user, self.channel, self.explain, frozenset(self.exclude),
            filters=self.filters, payload=tuple(self.payload), max_per=self.max_per, min_relevance=self.min_relevance,
        )  # fmt: skip


class ExplainBody(QueryBody, kw_only=True):
    """A query, and the ads to explain: why each is in the answer, or why not."""

    ad_ids: Annotated[list[str], Meta(min_length=1, max_length=MAX_EXPLAINED)]


class Explained(msgspec.Struct):
    """The verdict on each ad, in the order asked for."""

    verdicts: list[Verdict]
    generation: str
    seq: int


class SpanBody(Body):
    """One piece of text that OCR read on a landing page."""

    text: str
    confidence: Annotated[float, Meta(ge=0, le=1)]


def _limited(name: str, kind: Any) -> Any:
    """Return the type of a field of an ad, with the limits that the catalog sets."""
    if get_origin(kind) is UnionType or NoneType in get_args(kind):
        return kind
    if get_origin(kind) is tuple:
        (item, _) = get_args(kind)
        items: Any = list.__class_getitem__(SpanBody if item is Span else item)
        return Annotated[items, Meta(max_length=MAX_LIST_LENGTH)]
    if get_origin(kind) is Mapping:
        return dict[str, Any]
    if kind is str:
        low = 1 if name in ("ad_id", "title") else None
        return Annotated[str, Meta(min_length=low, max_length=MAX_LENGTHS.get(name, MAX_OTHER_LENGTH))]
    return kind


def _ad_struct(name: str, told: str, *, at_path: bool = False, is_patch: bool = False) -> Any:
    """Return a body with the fields of `Ad`, so that none is missing here. A patch has none that is required."""
    hints = get_type_hints(Ad)
    columns: list[Any] = []
    for each in fields(Ad):
        kind = _limited(each.name, hints[each.name])
        if is_patch or (at_path and each.name == "ad_id"):
            columns.append((each.name, kind | UnsetType, UNSET))
        elif each.default is MISSING:
            columns.append((each.name, kind))
        else:
            default = [] if each.default == () else {} if each.default is EMPTY else each.default
            columns.append((each.name, kind, default))
    if is_patch:
        columns = [each for each in columns if each[0] != "ad_id"]
    return msgspec.defstruct(name, columns, bases=(Body,), kw_only=True, namespace={"__doc__": told})


AdBody: Any = _ad_struct("AdBody", "An ad. Only `ad_id` and `title` are required; empty targeting reaches everybody.")
AdAtPath: Any = _ad_struct("AdAtPath", "An ad. `ad_id` may be left out, or is that of the address.", at_path=True)
AdFields: Any = _ad_struct("AdFields", "The fields of an ad that change; the others stay.", is_patch=True)


def ad_of(body: Any, ad_id: str) -> Ad:
    """Return the ad that a body tells; raise `Problem` for a payload that an ad cannot have."""
    values = {
        name: value for name, value in msgspec.structs.asdict(body).items() if name != "ad_id" and value is not UNSET
    }
    try:
        return Ad(ad_id, **_as_engine_values(values))
    except InputError as error:
        raise of_input_error(error) from None


def patch_of(body: Any) -> dict[str, Any]:
    """Return the fields that a body changes."""
    given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    return _as_engine_values(given)


def _as_engine_values(values: dict[str, Any]) -> dict[str, Any]:
    spans = values.get("landing_spans")
    if spans is not None:
        values = values | {"landing_spans": [Span(each.text, each.confidence) for each in spans]}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


class PutLine(Body, tag_field="op", tag="put"):
    """A line of a bulk: add this ad, or put it in the place of the one with its id."""

    ad: AdBody


class PatchLine(Body, tag_field="op", tag="patch"):
    """A line of a bulk: change some fields of an ad."""

    ad_id: Annotated[str, Meta(min_length=1)]
    fields: AdFields


class DeleteLine(Body, tag_field="op", tag="delete"):
    """A line of a bulk: remove an ad."""

    ad_id: Annotated[str, Meta(min_length=1)]


BulkLine = PutLine | PatchLine | DeleteLine


class LineError(msgspec.Struct, omit_defaults=True):
    """Why a line was refused."""

    code: str
    message: str
    field: str = ""
    cure: str = ""


class LineResult(msgspec.Struct, omit_defaults=True):
    """What became of one line: it has a `seq`, or an `error`."""

    line: int
    status: int
    ad_id: str = ""
    seq: int | None = None
    error: LineError | None = None


class BulkSummary(msgspec.Struct):
    """The last line of a bulk's answer."""

    lines: int
    succeeded: int
    failed: int
    seq: int
    stopped: bool


class BulkEnd(msgspec.Struct):
    """The last line of a bulk's answer."""

    summary: BulkSummary


class KeywordConflict(msgspec.Struct):
    """A keyword that can never show its ad, and the ad's own negative keyword that forbids it."""

    keyword: str
    negative: str


class Changed(msgspec.Struct, omit_defaults=True):
    """A change was applied: every answer from now on shows it. `existed`: whether the ad was there before."""

    ad_id: str
    seq: int
    existed: bool
    conflicts: list[KeywordConflict] = []


class AdPage(msgspec.Struct):
    """A page of ads in the order of their ids; `next` is the cursor of the next one."""

    ads: list[Ad]
    next: str | None
    generation: str
    seq: int


class ListBody(Body):
    """The values of a list: negative keywords, or what a block list names."""

    values: Annotated[list[str], Meta(min_length=1, max_length=MAX_LISTED)]


class ListTold(msgspec.Struct):
    """One list. Lists of negative keywords count for the ads that name them, block lists for all."""

    name: str
    values: list[str]
    seq: int


class ListSize(msgspec.Struct):
    """A list, and how many values it has."""

    name: str
    num_values: int


class ListedLists(msgspec.Struct):
    """All lists, in the order of their names."""

    lists: list[ListSize]
    seq: int


class ListChanged(msgspec.Struct):
    """A list was changed: every answer from now on shows it. `existed`: whether the list was there before."""

    name: str
    seq: int
    existed: bool


class GenerationBody(Body):
    """Which generation to make current: the one named, or the one before the current one."""

    generation: str | None = None


class GenerationTold(msgspec.Struct):
    """A generation on disk."""

    id: str
    created: datetime
    bytes: int
    is_current: bool
    is_served: bool
    facts: dict[str, Any]
    problem: str = ""


class Generations(msgspec.Struct):
    """All generations, newest first."""

    generations: list[GenerationTold]
    served: str


class Ready(msgspec.Struct):
    """Whether the service takes requests, and what it shows."""

    status: Literal["ready", "draining"]
    generation: str
    seq: int
    refresh_problem: str
    merge_problem: str
    cache_problem: str
    log_version: str  # of the library or the server that keeps the changes
    log_problem: str  # why no change is taken, or what was lost when the log was opened


class Alive(msgspec.Struct):
    """The process answers."""

    status: Literal["alive"]


class Limits(msgspec.Struct):
    """What one request may ask for."""

    max_k: int
    max_queries: int
    max_query_length: int
    max_excluded: int
    max_explained: int
    max_page: int
    max_body_bytes: int
    max_bulk_lines: int
    bulk_chunk: int
    deadline_ms: float
    max_deadline_ms: float
    idempotency_hours: float
    ad_lengths: dict[str, int]
    max_list_length: int
    max_listed: int


# The fields of each object, by the name that holds it: an error about an unknown field lists them.
KINDS: dict[str, tuple[str, ...]] = {
    "user": UserBody.__struct_fields__,
    "landing_spans": SpanBody.__struct_fields__,
    "ad": AdBody.__struct_fields__,
    "fields": AdFields.__struct_fields__,
}


def kinds_of(body: type[msgspec.Struct]) -> dict[str, tuple[str, ...]]:
    """Return `KINDS` with the fields of a body under ""."""
    return KINDS | {"": body.__struct_fields__}
