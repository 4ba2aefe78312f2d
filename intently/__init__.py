"""Intently: ad retrieval by commercial intention."""
