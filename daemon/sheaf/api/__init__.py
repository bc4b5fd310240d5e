"""The local door (PROTOCOL §9): HTTP, server-sent events and the sync socket on loopback."""
