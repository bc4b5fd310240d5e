"""SQLite behind the storage port."""

from sheaf.storage.lock import DataDirBusy, DataDirLock, lock_data_dir
from sheaf.storage.store import SqliteStore, open_store

__all__ = ["DataDirBusy", "DataDirLock", "SqliteStore", "lock_data_dir", "open_store"]
