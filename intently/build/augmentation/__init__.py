"""Dual-LLM augmentation: queries a generative model writes for chosen ads, keywords a light one takes from all."""
