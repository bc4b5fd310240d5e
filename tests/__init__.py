"""The tests of Sheaf: what each folder holds is in docs/HACKING.md."""
