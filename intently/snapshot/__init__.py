"""An immutable picture of all ads: segments of content with their indexes, and attributes that say who may see them."""
