"""The stages of a build that `intently.pipeline` strings together."""
