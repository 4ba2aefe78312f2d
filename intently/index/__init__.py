"""Finding ads: postings, vectors, terms and intentions."""
