"""Ways to carry frames between two daemons."""
