"""Session, mux, sync, signalling, pairing: pure state machines."""
