"""The systems of RARE's tables beside the baselines: BM25, the engine's channels, fusions, language models."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import Stemmer

from intently.arrays import IntArray
from intently.build.interactions import Interactions
from intently.build.teacher import TeacherSettings, decode_all, speak
from intently.build.training.format import query_prompt
from intently.build.training.pairs import build_training_data
from intently.catalog import Catalog, Run
from intently.catalog.texts import ad_texts
from intently.engine.channels.intention import weighted
from intently.engine.engine import Engine
from intently.engine.reciprocal_ranks import reciprocal_rank_fusion
from intently.errors import MissingDependencyError, install_hint
from intently.evaluation.cache_report import cache_report, zipf_log
from intently.index.postings import top_rows
from intently.intentions.decode import ScoreMode
from intently.intentions.trie import Trie, as_padded
from intently.intentions.vocabulary import merge_equal
from intently.lab.baselines.generative import Identifiers, decode, start, train
from intently.lab.baselines.task import Budget, Ranking, Task, directory_of, ranked
from intently.lab.experiments.runner import Answers
from intently.models.causal_lm import CausalLM
from intently.types import Channel, Progress

DEPTH = 500  # ads a query


def bm25(catalog: Catalog, queries: Sequence[str]) -> Answers:
    """Answer with bm25s, English stop words and stemmer, k1 1.5, b 0.75: what a user would try first."""
    try:
        import bm25s
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"BM25 is that of bm25s; {install_hint('experiments')}") from error
    texts, ad_ids, stemmer = ad_texts(catalog), catalog.strings("ad_id"), Stemmer.Stemmer("english")
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    rankings = []
    for query in queries:
        tokens = bm25s.tokenize([query], stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)[0]
        scores = retriever.get_scores(tokens) if tokens else np.zeros(len(texts), dtype=np.float32)
        rows = top_rows(scores, DEPTH, above=0.0)
        rankings.append(([ad_ids[row] for row in rows.tolist()], scores[rows].tolist()))
    return Answers(rankings)


def answer(
    engine: Engine,
    queries: Sequence[str],
    channel: Channel,
    *,
    mode: ScoreMode = ScoreMode.TRIE,
    progress: Progress,
) -> Answers:
    """Answer with one channel of the engine, the query cache switched off."""
    settings, cache = engine.settings, engine.cache
    engine.settings, engine.cache = replace(settings, decode=replace(settings.decode, mode=mode)), None
    try:
        rankings, counts, texts = [], [], []
        for done, ranking in enumerate(engine.retrieve_many(queries, DEPTH, channel=channel), start=1):
            texts.append([intention.text for intention in ranking.intentions[:10]])
            rankings.append(([ad.ad_id for ad in ranking.ads], [ad.score for ad in ranking.ads]))
            counts.append(len(ranking.intentions))
            progress("Answering", done, len(queries), str(channel))
    finally:
        engine.settings, engine.cache = settings, cache
    return Answers(rankings, counts, {"intentions": texts}) if channel is Channel.INTENTION else Answers(rankings)


def fuse(runs: Sequence[tuple[Run, float]], query_ids: Sequence[str], constant: float) -> Answers:
    """Fuse runs, each with its weight, by reciprocal ranks."""
    every = [_by_query(run) for run, _ in runs]
    rankings = []
    for query_id in query_ids:
        lists = [ranked[query_id] for ranked in every]
        known = {ad_id: number for number, ad_id in enumerate(dict.fromkeys(ad for ads in lists for ad in ads))}
        rows = [np.array([known[ad_id] for ad_id in ads], dtype=np.int64) for ads in lists]
        order, scores = reciprocal_rank_fusion(rows, [weight for _, weight in runs], constant)
        names = list(known)
        rankings.append(([names[row] for row in order[:DEPTH].tolist()], scores[:DEPTH].tolist()))
    return Answers(rankings)


def _by_query(run: Run) -> defaultdict[str, list[str]]:
    """Return every query's ads, best first; none for a query that the run does not have."""
    ranked: defaultdict[str, list[str]] = defaultdict(list)
    for query_row, ad_id in zip(run.query_rows.tolist(), run.ad_ids.to_pylist(), strict=True):
        ranked[run.query_ids[query_row]].append(ad_id)
    return ranked


def say(
    lm: CausalLM,
    queries: Sequence[str],
    engine: Engine,
    settings: TeacherSettings,
    num_beams: int,
    constrained: bool,
    progress: Progress,
) -> Answers:
    """Answer with what a customized language model itself says, through the engine's postings.

    Constrained, it searches the vocabulary with `num_beams`; free, it searches all texts with as many, and those of its
    answers count that are in the vocabulary. The query's literal phrases are left out in both.
    """
    instructions = [query_prompt(query) for query in queries]
    if constrained:
        trie = Trie.build(lm.tokens(engine.intentions.texts))
        decoded = decode_all(lm, instructions, trie, num_beams, settings, "Constrained decoding", progress)
        found = [(one.intention_ids, one.log_probs) for one in decoded]
    else:
        beams = replace(settings.beams, num_beams=num_beams)
        free = speak(lm, instructions, replace(settings, beams=beams), None, "Free decoding", progress)
        found = [_known(said, engine) for said in free]
    postings, ad_ids = engine.intentions.postings, engine.catalog.strings("ad_id")
    rankings = []
    for ids, log_probs in found:
        shares = np.exp(engine.settings.intention_power * (log_probs - log_probs.max(initial=-np.inf)))
        scores = postings.scores(ids, shares)
        rows = top_rows(scores, DEPTH, above=0.0)
        rankings.append(([ad_ids[row] for row in rows.tolist()], scores[rows].tolist()))
    texts = [[engine.intentions.texts[i] for i in ids[:10]] for ids, _ in found]
    return Answers(rankings, [len(ids) for ids, _ in found], {"intentions": texts})


def _known(said: Sequence[Any], engine: Engine) -> tuple[IntArray, np.ndarray]:
    """Return the intentions among freely spoken answers; several wordings of one add up."""
    log_probs: dict[int, float] = {}
    for each in said:
        intention_id = engine.intentions.phrases.exact(each.text)
        if intention_id is not None:
            log_probs[intention_id] = float(np.logaddexp(log_probs.get(intention_id, -np.inf), each.log_prob))
    return np.array(list(log_probs), dtype=np.int64), np.array(list(log_probs.values()), dtype=np.float64)


def equal_budget(task: Task, budget: Budget, work: Path, engine: Engine, progress: Progress) -> Answers:
    """Answer with RARE's intention channel, its student trained with the baselines' steps, on the engine's index."""
    backbone, tokenizer = start(task, budget)
    vocabulary = merge_equal(task.vocabulary, tokenizer.encode_bare(task.vocabulary.texts), tokenizer.unknown_id)
    data = build_training_data(task.queries, task.ad_texts, vocabulary, task.clicks, task.irrelevant)
    index, settings = engine.intentions, engine.settings
    identifiers = Identifiers(
        vocabulary.texts,
        as_padded(tokenizer.encode_bare(vocabulary.texts)),
        index.postings,
        data.query_intentions,
        data.ad_intentions,
    )
    directory = directory_of(work, "rare", budget)
    student = train(task, budget, (backbone, tokenizer), identifiers, directory, progress, contrastive_weight=1.0)
    assert index.trie is not None  # as there is a student
    decoded = decode(student, index.trie, task.test_queries, budget.num_beams, budget.max_query_tokens, progress)
    rankings = [
        ranked(task, budget, index.postings.scores(*weighted(found, index.literal(query), settings)))
        for query, found in zip(task.test_queries, decoded, strict=True)
    ]
    return Answers(as_answers(rankings), [len(found.intention_ids) for found in decoded])


def as_answers(rankings: Sequence[Ranking]) -> list[tuple[list[str], list[float]]]:
    """Return rankings of baselines as those of an experiment."""
    return [(ad_ids, scores.tolist()) for ad_ids, scores in rankings]


def cache_facts(interactions: Interactions, engine: Engine, progress: Progress) -> dict[str, Any]:
    """Return hit rate and compute saved by cache size, on the click log and on a simulated Zipf log."""
    asked = np.bincount(interactions.clicks[:, 0], weights=interactions.counts, minlength=len(interactions.queries))
    asked = np.sort(asked[asked > 0].astype(np.int64))[::-1]
    zipf = np.bincount(zipf_log(max(len(asked), 1_000), 200_000, 1.0, seed=0))
    shares = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)

    def rows(counts: IntArray) -> list[dict[str, float]]:
        sizes = [max(1, round(share * len(counts))) for share in shares]
        return [
            {
                "size": row.size,
                "share_of_queries": row.share_of_queries,
                "hit_rate": row.hit_rate,
                "compute_saved": row.compute_saved,
            }
            for row in cache_report(counts, sizes)
        ]

    progress("Counting cache hits", 0, 0, "")
    cached = 0 if engine.cache is None else len(engine.cache)
    return {"log": rows(asked), "zipf": rows(zipf[zipf > 0]), "cached_queries": cached}
