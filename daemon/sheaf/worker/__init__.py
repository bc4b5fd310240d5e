"""Content work in processes of its own: `pool` is the daemon's side, `process` the other one."""
