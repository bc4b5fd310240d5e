"""Application services: spaces, documents, peers. Knows ports, not adapters."""
