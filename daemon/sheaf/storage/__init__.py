"""SQLite behind the storage port. The store is imported when asked for: the lock alone must be quick."""

from typing import TYPE_CHECKING, Any

from sheaf.storage.lock import DataDirBusy, DataDirLock, lock_data_dir

if TYPE_CHECKING:
    from sheaf.storage.store import SqliteStore, open_store

__all__ = ["DataDirBusy", "DataDirLock", "SqliteStore", "lock_data_dir", "open_store"]


def __getattr__(name: str) -> Any:
    if name in ("SqliteStore", "open_store"):
        from sheaf.storage import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
