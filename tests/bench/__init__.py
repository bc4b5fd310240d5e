"""Measurements, each against a named peer or limit in the same run: `python -m tests.bench`.

What is measured, how, and what came out: docs/benchmarks.md.
"""
