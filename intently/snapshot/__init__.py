"""An immutable picture of the ads: segments of content, who may see them, and what a query searches."""
