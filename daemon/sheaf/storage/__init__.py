"""SQLite behind the storage port."""
