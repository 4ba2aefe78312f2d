"""Everything behind one answer, and everything behind one ad: for people who want to know why."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from intently.catalog import Catalog
from intently.catalog.texts import ad_texts, searchable_texts
from intently.engine.answerer import Answerer
from intently.engine.search import NUM_EVIDENCE, Searched
from intently.engine.why import Place, places
from intently.intentions.trace import Choice, Cut, Trace
from intently.snapshot.snapshot import Snapshot
from intently.text.analyze import Analyzer
from intently.text.normalize import has_han
from intently.text.query_text import QueryText
from intently.types import Ad, Channel, Ranking, Reason, Request, Verdict

NUM_FOUND = 10  # ads of each channel that an inspection shows
NUM_NEAR = 20  # intentions near a query that it shows
NUM_LOOKED_AT = 30  # ads that would come first without any rule, of which it says what became of them
NUM_HEAD_QUERIES = 20  # that are asked for an ad
HEAD_DEPTH = 100  # places that an ad is looked for in their answers
_BY_NO_RULE = ("shown", "rank", "channels")  # verdicts on ads that no rule kept out


@dataclass(frozen=True)
class Branch:
    """A partial intention of the search: what is said so far, the choice that led here, and the choices after it.

    `is_kept` and `is_found`: the search went on from here; an intention of its result ends or is certain here.
    """

    text: str
    choice: Choice | None = None
    is_found: bool = False
    branches: tuple["Branch", ...] = ()
    cut: Cut | None = None  # what is not shown

    @property
    def is_kept(self) -> bool:
        """Whether the search kept this choice."""
        return self.choice is None or self.choice.is_kept


@dataclass(frozen=True)
class LeftOut:
    """An ad that a rule kept out: its place if there were no rules, and the verdict."""

    rank: int
    verdict: Verdict


@dataclass(frozen=True)
class Inspection:
    """One query's way to its ads.

    `tree` is the decoder's search, None if nothing was decoded; `near` are the intentions near the query's embedding,
    with their shares of all that are near. `found` are the best ads of each channel. `left_out` are those among the
    best `NUM_LOOKED_AT` without rules that a rule kept out. `places` are of the ads that were asked about.
    """

    request: Request
    text: QueryText
    ranking: Ranking
    titles: Mapping[str, str]
    tree: Branch | None = None
    near: tuple[tuple[str, float], ...] = ()
    literal: tuple[str, ...] = ()
    found: Mapping[Channel, tuple[tuple[str, Reason], ...]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    places: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    depth: int = 0  # ads that each channel gives to the fusion

    @property
    def weighed(self) -> tuple[tuple[str, float], ...]:
        """The intentions that the ranking shows, with their shares."""
        return tuple((each.text, math.exp(each.log_prob)) for each in self.ranking.intentions)


@dataclass(frozen=True)
class HeadQuery:
    """A frequent query that means an intention of an ad, and the ad's place in its answer, None beyond `HEAD_DEPTH`."""

    query: str
    rank: int | None


@dataclass(frozen=True)
class AdInspection:
    """One ad as the engine knows it.

    `read_as` is what the student reads of it, empty without one. `intentions` and `terms` lead to it, with their
    weights, largest first.
    `num_reaching` head queries mean one of its intentions; the first of them were asked. None: there is no query cache.
    """

    ad: Ad
    read_as: str
    intentions: tuple[tuple[str, float], ...]
    terms: tuple[tuple[str, float], ...]
    head_queries: tuple[HeadQuery, ...]
    num_reaching: int | None
    generation: str
    seq: int


def inspect(engine: Answerer, request: Request, ad_ids: Sequence[str], snapshot: Snapshot) -> Inspection:
    """Return everything behind the answer to a request. See `Engine.inspect`."""
    request = replace(request, explain=True, deadline_ms=None)
    ranking = engine._answered(request, snapshot)
    text = snapshot.reader.read(request.query)
    titles = _Titles(engine, snapshot)
    titles.add([*ad_ids, *(ad.ad_id for ad in ranking.ads)])
    searched = engine._searched_for(request, snapshot)
    if searched is None:
        verdicts = engine._verdicts(request, ad_ids, snapshot) if ad_ids else ()
        return Inspection(request, text, ranking, titles.known, verdicts=verdicts)
    names, understood = tuple(searched.found), searched.question.understood
    eligible = engine._eligible(request, text, snapshot)
    found = {name: _first(searched, name, snapshot) for name in names}
    titles.add([ad_id for each in found.values() for ad_id, _ in each])
    first = _first_without_rules(engine, searched, request, snapshot)
    verdicts = engine._verdicts(request, [*ad_ids, *first], snapshot)
    of_first = enumerate(verdicts[len(ad_ids) :], start=1)
    left_out = tuple(LeftOut(rank, each) for rank, each in of_first if each.stage not in _BY_NO_RULE)
    titles.add([each.verdict.ad_id for each in left_out])
    rows = {ad_id: engine._row(snapshot, ad_id) for ad_id in ad_ids}
    tree, near = _understanding(engine, text) if Channel.INTENTION in names else (None, ())
    return Inspection(
        request,
        text,
        ranking,
        titles.known,
        tree,
        near,
        tuple(engine.intentions.texts[each] for each in understood.literal.tolist()),
        found,
        left_out,
        verdicts[: len(ad_ids)],
        {ad_id: places(searched, eligible, row) for ad_id, row in rows.items() if row is not None},
        searched.depth,
    )


def inspect_ad(engine: Answerer, ad_id: str, snapshot: Snapshot) -> AdInspection | None:
    """Return one ad as the engine knows it. See `Engine.inspect_ad`."""
    row = engine._row(snapshot, ad_id)
    if row is None:
        return None
    ad, (segment, at) = snapshot.ad(row), snapshot.locate(row)
    keys, weights = segment.postings.of_ad(at)
    order = np.lexsort((keys, -weights))
    head: tuple[HeadQuery, ...] = ()
    num_reaching = None
    if engine.cache is not None:
        of_all = np.zeros(len(engine.intentions.texts))
        of_all[keys] = weights
        queries, num_reaching = engine.cache.reaching(of_all, NUM_HEAD_QUERIES)
        answers = [engine._answered(Request(query, HEAD_DEPTH), snapshot) for query in queries]
        places = [next((each.rank for each in answer.ads if each.ad_id == ad_id), None) for answer in answers]
        pairs = sorted(zip(queries, places, strict=True), key=lambda pair: pair[1] or HEAD_DEPTH + 1)
        head = tuple(HeadQuery(*pair) for pair in pairs)
    return AdInspection(
        ad,
        ad_texts(Catalog.from_ads([ad]))[0] if engine._models else "",
        tuple((engine.intentions.texts[keys[each]], float(weights[each])) for each in order.tolist()),
        _words_first(segment.lexical.terms_of(at), ad, Analyzer(segment.lexical.settings.stemmer)),
        head,
        num_reaching,
        engine.generation,
        snapshot.seq,
    )


def _words_first(terms: Sequence[tuple[str, float]], ad: Ad, analyzer: Analyzer) -> tuple[tuple[str, float], ...]:
    """Return an ad's terms: its words, then the pairs of Chinese characters that are not among them."""
    page = " ".join(span.text for span in ad.landing_spans)
    (text,) = searchable_texts(Catalog.from_ads([ad]), [page])
    words = {token.term for token in analyzer.tokens(text)}
    return tuple(sorted(terms, key=lambda each: len(each[0]) == 2 and has_han(each[0]) and each[0] not in words))


class _Titles:
    """The titles of ads that are shown, by id."""

    def __init__(self, engine: Answerer, snapshot: Snapshot) -> None:
        self._engine, self._snapshot = engine, snapshot
        self.known: dict[str, str] = {}

    def add(self, ad_ids: Sequence[str]) -> None:
        """Look up the titles of some ads."""
        for ad_id in ad_ids:
            if ad_id not in self.known and (row := self._engine._row(self._snapshot, ad_id)) is not None:
                self.known[ad_id] = self._snapshot.field_of(row, "title")


def _first(searched: Searched, name: Channel, snapshot: Snapshot) -> tuple[tuple[str, Reason], ...]:
    """Return the first ads of a channel, each with its reason."""
    found = searched.found[name]
    rows, scores = found.hits.rows[:NUM_FOUND].tolist(), found.hits.scores[:NUM_FOUND].tolist()
    return tuple(
        (snapshot.ad_id(row), Reason(name, rank, score, found.evidence(row, score)[:NUM_EVIDENCE]))
        for rank, (row, score) in enumerate(zip(rows, scores, strict=True), start=1)
    )


def _first_without_rules(engine: Answerer, searched: Searched, request: Request, snapshot: Snapshot) -> list[str]:
    """Return the ids of the ads that would come first if every ad might be shown."""
    question, names = searched.question, tuple(searched.found)
    freely = engine._searched(question.text, question.understood, snapshot, names, snapshot.alive)
    rows, _ = engine._ranked(freely, request.channel)
    return [snapshot.ad_id(row) for row in rows[: max(request.k, NUM_LOOKED_AT)].tolist()]


def _understanding(engine: Answerer, text: QueryText) -> tuple[Branch | None, tuple[tuple[str, float], ...]]:
    """Return how the student decodes a query, whether the cache knows it or not, and the intentions near it."""
    if engine._models is None:
        return None, ()
    settings, reader, trace = engine.settings, engine._models.intention_reader, Trace()
    reading = engine._models.student.read([text.for_models], settings.max_query_tokens)
    decoded = reader.read(reading, settings.num_near, settings.decode, trace)[0]
    closest = reader.near.of(reading.embeddings[0], settings.num_near, reader.guidance.prior_temperature)
    shares = zip(closest.intention_ids[:NUM_NEAR].tolist(), np.exp(closest.log_shares())[:NUM_NEAR], strict=True)
    told = tuple((engine.intentions.texts[each], float(share)) for each, share in shares)
    if not trace.steps:
        return None, told
    assert trace.trie is not None
    best = set(decoded.intention_ids[: settings.decode.num_beams].tolist())
    return _tree(trace, engine.intentions.texts, engine._models.student.tokenizer.spelled, best), told


def _tree(trace: Trace, texts: Sequence[str], spelled: Callable[[Sequence[int]], str], found: set[int]) -> Branch:
    """Return the steps of a search as a tree."""
    assert trace.trie is not None
    after: dict[int, list[Choice]] = {}
    for step in trace.steps:
        for choice in step:
            after.setdefault(choice.parent, []).append(choice)
    cuts = {cut.parent: cut for cut in trace.cuts}

    def branch(choice: Choice, tokens: tuple[int, ...]) -> Branch:
        tokens = tokens if choice.is_end else (*tokens, choice.token)
        if choice.intention_id is not None:
            is_found = choice.is_kept and choice.intention_id in found
            return Branch(texts[choice.intention_id], choice, is_found)
        return below(choice.node, tokens, choice)

    def below(node: int, tokens: tuple[int, ...], choice: Choice | None) -> Branch:
        goes_on = choice is None or choice.is_kept
        branches = tuple(branch(each, tokens) for each in after.get(node, ())) if goes_on else ()
        return Branch(spelled(tokens), choice, any(each.is_found for each in branches), branches, cuts.get(node))

    return below(trace.trie.root, (), None)
