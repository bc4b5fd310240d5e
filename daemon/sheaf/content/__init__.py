"""Pure document knowledge: blocks, Markdown, HTML, plain text, diff."""
