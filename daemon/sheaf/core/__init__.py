"""The sans-IO core: pure state machines, no clock, no sockets, no files."""
