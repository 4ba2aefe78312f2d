"""The systems that RARE is compared with, each small and honest, trained on the same data with the same budget."""
