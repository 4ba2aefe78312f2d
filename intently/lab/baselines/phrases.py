"""What keyword generation and untrained language models share: the ads that have the vocabulary's phrases."""

import numpy as np

from intently.index.posting_weights import PostingSettings
from intently.index.postings import Postings
from intently.intentions.vocabulary import Vocabulary


def phrase_postings(vocabulary: Vocabulary, num_ads: int) -> Postings:
    """Return the postings of given intentions only, weighed by inverse document frequency.

    What RARE's own postings have beyond that (near and decoded intentions) takes its trained student.
    """
    ids, rows = vocabulary.ad_pairs[:, 0], vocabulary.ad_pairs[:, 1]
    idf = np.log1p(num_ads / (1.0 + np.bincount(ids, minlength=len(vocabulary))))
    return Postings.build(ids, rows, idf[ids] ** PostingSettings().idf_power, len(vocabulary), num_ads)
