"""Text handling without state."""
