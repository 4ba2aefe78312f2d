"""The version of the rules by which text is read."""

# Raise it whenever a rule of normalizing, analyzing or spelling changes what some text becomes: engines built by other
# rules than those that read a query answer wrongly. A test compares the rules' output on a sample with a digest.
TEXT_RULES_VERSION = 4
