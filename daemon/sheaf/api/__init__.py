"""The local door: HTTP and WebSocket for the editor, scripts and the command line."""
