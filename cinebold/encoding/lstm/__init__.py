"""A network of states with a linear read-out."""
