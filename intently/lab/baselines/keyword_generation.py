"""T5-style keyword generation: an encoder-decoder writes keywords freely, and those that advertisers bid on count.

The two-stage way that RARE replaces: query → keyword → ads. Nothing holds the model to the keywords that exist, so
what it writes is looked up, and is lost if no ad has it. Keywords are bid keywords, clicked queries and shared title
phrases: RARE's own vocabulary. Source: RARE's baseline "T5"; the network is `encoder_decoder`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from intently.build.training.pairs import TrainingData, build_training_data
from intently.intentions.vocabulary import merge_equal
from intently.lab.baselines.encoder_decoder import build, fit, generate
from intently.lab.baselines.phrases import phrase_postings
from intently.lab.baselines.task import Answers, Budget, Task, directory_of, ranked, shares
from intently.models.pretrained import open_checkpoint
from intently.types import Progress

_PHRASE_SHARE = 0.15  # of a batch: ads' texts instead of clicked queries, as the student's phrase pairs
_POWER = 0.5  # a keyword weighs the root of its probability, as intentions do in RARE's engine


def keyword_generation(task: Task, budget: Budget, work: Path, progress: Progress) -> Answers:
    """Train and answer."""
    place = directory_of(work, "keyword-generation", budget)
    begun = open_checkpoint(budget.checkpoint).fitted_to((*task.ad_texts, *task.queries))
    tokenizer = begun.tokenizer
    vocabulary = merge_equal(task.vocabulary, tokenizer.encode_bare(task.vocabulary.texts), tokenizer.unknown_id)
    sequences = tokenizer.encode_bare(vocabulary.texts)
    model = build(budget, begun)
    data = build_training_data(task.queries, task.ad_texts, vocabulary, task.clicks, task.irrelevant)
    fit(model, tokenizer, _batches(data, sequences, budget), budget, place / "checkpoint.pt", progress)

    keyword_of = {tuple(tokens): keyword for keyword, tokens in enumerate(sequences)}
    postings = phrase_postings(vocabulary, task.num_ads)
    rankings, num_identifiers = [], []
    num_texts = max(1, 200 // budget.num_beams)  # the library keeps all tokens' scores of all beams and steps
    for first in range(0, len(task.test_queries), num_texts):
        texts = task.test_queries[first : first + num_texts]
        for written in generate(model, tokenizer, texts, budget.num_beams, budget):
            known = [(keyword_of[tokens], log_prob) for tokens, log_prob in written if tokens in keyword_of]
            ids = np.array([keyword for keyword, _ in known], dtype=np.int64)
            weights = shares(np.array([log_prob for _, log_prob in known]), _POWER)
            rankings.append(ranked(task, budget, postings.scores(ids, weights)))
            num_identifiers.append(len(known))
        progress("Answering", len(rankings), len(task.test_queries), "")
    return Answers(rankings, num_identifiers)


def _batches(
    data: TrainingData, sequences: list[list[int]], budget: Budget
) -> Iterator[tuple[int, list[str], list[list[int]]]]:
    """Yield (step, texts, keywords to write) of every step; what is in step n is drawn from (seed, n)."""
    speaking = np.flatnonzero(np.diff(data.ad_intentions.offsets))
    asking = data.clicks[np.diff(data.query_intentions.offsets)[data.clicks[:, 0]] > 0, 0]
    num_ads = round(budget.batch_size * _PHRASE_SHARE) if len(asking) else budget.batch_size
    for step in range(budget.num_steps):
        rng = np.random.default_rng((budget.seed, 4, step))
        ads = rng.choice(speaking, size=num_ads)
        texts = [data.ad_texts[row] for row in ads]
        said = data.ad_intentions.sample(ads, rng)
        if len(asking):
            queries = rng.choice(asking, size=budget.batch_size - num_ads)
            texts += [data.queries[row] for row in queries]
            said = np.concatenate((said, data.query_intentions.sample(queries, rng)))
        yield step, texts, [sequences[i] for i in said]
