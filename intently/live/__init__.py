"""The way of a change: an ad is read, becomes a segment, and the next snapshot holds it."""
