"""Membership, epochs, envelopes, acceptance."""
