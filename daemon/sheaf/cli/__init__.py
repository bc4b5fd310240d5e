"""The `sheaf` command: one file per noun; all but `up` talk to the daemon's local API."""
