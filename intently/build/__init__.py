"""The stages of a build that `intently.build.pipeline` strings together."""
