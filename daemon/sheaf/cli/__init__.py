"""The command line: one file per verb; talks to the local API."""
