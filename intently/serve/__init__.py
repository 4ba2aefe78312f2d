"""The HTTP service: admission, deadlines, writing, keys, metrics. It holds no retrieval logic."""
