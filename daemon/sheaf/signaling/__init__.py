"""Ways to carry sealed signalling messages."""
