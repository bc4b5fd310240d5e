"""Identifiers, errors, limits."""
