"""One router per noun; each only translates between HTTP and the node."""
