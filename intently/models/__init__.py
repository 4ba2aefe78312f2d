"""The neural models and how they are loaded."""
