"""Training: the student, BRIDGE's encoder, language models, and the learned fusion."""
