"""The way of a change: models read the ad, it becomes a segment, and the next snapshot holds it."""
