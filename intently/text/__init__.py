"""Text handling without state."""

TEXT_RULES_VERSION = 1  # of all rules by which texts become words; what was built by others is built again
