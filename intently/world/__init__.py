"""A simulated world of search ads: ads, a query log with clicks, and judged queries, all from one latent truth."""

from intently.world.simulate import WorldReport, simulate_world
from intently.world.vocabulary import Vocabulary, load_vocabulary

__all__ = ["Vocabulary", "WorldReport", "load_vocabulary", "simulate_world"]
