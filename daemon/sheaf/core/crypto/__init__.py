"""Identities and sealing, over the cryptography library."""
