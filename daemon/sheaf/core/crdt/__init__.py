"""Replicas and the update inspector; the only package that imports pycrdt."""
