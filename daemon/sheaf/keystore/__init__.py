"""Where device keys are kept."""

from sheaf.keystore.choice import Kind, open_keystore
from sheaf.keystore.file import FileKeyStore

__all__ = ["FileKeyStore", "Kind", "open_keystore"]
