"""Training the student."""
