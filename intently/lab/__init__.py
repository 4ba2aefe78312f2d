"""Worlds, baselines, experiments and the demo: what measures the engine."""
