"""Late interaction: every token of a query looks for the token of an ad that is most like it.

    score(query, ad) = mean over the query's tokens of the largest cosine with any of the ad's tokens (MaxSim)

One embedding a text has to say everything at once; one a token keeps apart what a query may ask for in any combination.
The mean orders ads as the original's sum does, and keeps scores of short and long queries alike.
Source: Khattab & Zaharia, "ColBERT" (SIGIR 2020), section 3.

Shape letters: B queries, M ads, S and T tokens of a query and of an ad, Q tokens of all queries, P size of a token's
embedding.
"""

import torch
from torch import Tensor


def max_sim(queries: Tensor, query_real: Tensor, ads: Tensor, ad_real: Tensor) -> Tensor:
    """Return the scores (B, M) of queries' tokens (B, S, P) with ads' (M, T, P); masks say which are no padding.

    Cost: 2·Q·M·T·P operations and 8·Q·M·T bytes, T being the longest ad.
    """
    own = query_real.nonzero()[:, 0]  # (Q,) whose each real token is
    cosines = (queries[query_real] @ ads.flatten(0, 1).T).view(-1, *ads.shape[:2])
    best = cosines.masked_fill(~ad_real, -torch.inf).amax(dim=2)  # (Q, M)
    total = torch.zeros((len(queries), len(ads)), device=best.device).index_add(0, own, best)
    return total / query_real.sum(dim=1, keepdim=True)
