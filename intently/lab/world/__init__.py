"""A simulated world of search ads: ads, a query log with clicks, and judged queries, all from one latent truth."""

from intently.lab.world.simulate import WorldReport, simulate_world
from intently.lab.world.vocabulary import Vocabulary, load_vocabulary

__all__ = ["Vocabulary", "WorldReport", "load_vocabulary", "simulate_world"]
