"""Strict encodings."""
