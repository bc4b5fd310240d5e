"""Sheaf: documents that live on your own machines and meet each other directly."""

__version__ = "0.1.0"
