"""Ways to learn where a peer may be reached."""
