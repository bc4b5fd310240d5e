"""Content work: a document's content read, written and added to, as pure functions of bytes."""
