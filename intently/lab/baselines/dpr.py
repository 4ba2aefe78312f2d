"""DPR-style: two towers, and negatives that BM25 finds.

Each query's candidates are the batch's clicked ads and, of every query of the batch, the ad that BM25 ranks first among
those not clicked. Both towers start from the same checkpoint and part from there. Unlike the original, texts are
embedded by the mean of their states instead of [CLS], and compared by cosines, as the checkpoint was trained.
Source: Karpukhin et al., "Dense Passage Retrieval for Open-Domain Question Answering" (EMNLP 2020), section 3.
"""

from copy import deepcopy
from pathlib import Path

from intently.lab.baselines.contrastive import Clicks, fit
from intently.lab.baselines.dual_encoder import DualEncoder, loss_over_batches
from intently.lab.baselines.lexical import lexical_negatives
from intently.lab.baselines.task import Answers, Budget, Task, directory_of
from intently.lab.baselines.tower import load_tower
from intently.types import Progress


def dpr(task: Task, budget: Budget, work: Path, progress: Progress) -> Answers:
    """Train and answer."""
    tower = load_tower(task, budget)
    model = DualEncoder(tower, deepcopy(tower), budget)
    clicks = Clicks(task, budget)
    loss_of = loss_over_batches(model, task, clicks, lexical_negatives(task, clicks, progress))
    place = directory_of(work, "dpr", budget)
    fit(model, loss_of, budget.num_steps, budget, place / "training", progress)
    return model.answer(task, budget, progress)
