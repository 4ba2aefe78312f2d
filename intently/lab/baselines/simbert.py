"""SimBERT: one network that embeds texts and writes similar ones; only its embeddings are used for retrieval.

It is trained on pairs of a query and a clicked ad by the contrastive loss, and beside that to write, from a query,
another query of the same ad or the ad's title, and from an ad its queries: the reading is bidirectional and the writing
causal, as in UniLM. Both losses are the student's own, so the writing is normalized over what continues some known
query or title and not over all tokens; what it says is not used, only what learning to say it does to the embedding.
Source: Su, "SimBERT" (2020) and RARE's baseline "SimBert-v2-R".
"""

from pathlib import Path

import numpy as np

from intently.build.training.pairs import Choices
from intently.index.postings import Postings, top_rows
from intently.intentions.trie import as_padded
from intently.lab.baselines.generative import Identifiers, clicked, start, train
from intently.lab.baselines.task import Answers, Budget, Task, directory_of
from intently.models.tokenizer import StudentTokenizer, TextKind
from intently.types import Progress

_MAX_TOKENS = 16  # of what is written


def similar_texts(task: Task, tokenizer: StudentTokenizer) -> Identifiers:
    """Return all titles and clicked queries: said by the ads they belong to, and by queries clicking one of these."""
    num_ads = task.num_ads
    titles, queries = tokenizer.encode_bare(task.titles), tokenizer.encode_bare(task.queries)
    said = [
        (tokens[:_MAX_TOKENS], title, ad) for ad, (tokens, title) in enumerate(zip(titles, task.titles, strict=True))
    ]
    said += [(queries[query][:_MAX_TOKENS], task.queries[query], ad) for query, ad in task.clicks.tolist()]
    numbers: dict[tuple[int, ...], int] = {}
    texts: list[str] = []
    keys = []
    for tokens, text, ad in said:
        if tokens:
            number = numbers.setdefault(tuple(tokens), len(numbers))
            if number == len(texts):
                texts.append(text)
            keys.append(number * num_ads + ad)
    pairs = np.stack(np.divmod(np.unique(np.array(keys, dtype=np.int64)), num_ads), axis=1)
    rows, brought = clicked(task.clicks, pairs, num_ads)
    ids = pairs[brought, 0]
    own = np.array([numbers.get(tuple(tokens[:_MAX_TOKENS]), -1) for tokens in queries], dtype=np.int64)
    other = ids != own[rows]  # to write itself, a query would only have to copy
    return Identifiers(
        texts=tuple(texts),
        sequences=as_padded(list(numbers)),
        postings=Postings.build(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)), len(numbers), num_ads),
        query_choices=Choices.build(rows[other], ids[other], np.ones(int(other.sum())), len(task.queries)),
        ad_choices=Choices.build(pairs[:, 1], pairs[:, 0], np.ones(len(pairs)), num_ads),
    )


def simbert(task: Task, budget: Budget, work: Path, progress: Progress) -> Answers:
    """Train and answer."""
    place = directory_of(work, "simbert", budget)
    begun = start(task, budget)
    student = train(task, budget, begun, similar_texts(task, begun[1]), place, progress, contrastive_weight=1.0)
    ads = student.embed(
        task.ad_texts,
        budget.max_ad_tokens,
        kind=TextKind.PASSAGE,
        progress=lambda done, total: progress("Reading the ads", done, total, ""),
    )
    rankings = []
    for query in student.embed(task.test_queries, budget.max_query_tokens):
        scores = ads @ query
        rows = top_rows(scores, budget.num_ads)  # a cosine below 0 is an answer, too
        rankings.append(([task.ad_ids[row] for row in rows.tolist()], scores[rows]))
    return Answers(rankings)
