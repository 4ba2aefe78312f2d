"""Intentions: candidates, vocabulary, trie, and constrained decoding."""
