"""Helpers shared by tests, the benchmark and the Makefile."""
