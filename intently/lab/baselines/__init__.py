"""What RARE and BRIDGE are compared with, each small and honest, trained on the same data with the same budget."""
