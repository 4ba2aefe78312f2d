"""Landing pages as images: reading them, and cleaning what was read against a catalog's own words."""
