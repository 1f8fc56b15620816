"""Work that a command does itself, with a bar: import, analysis, demo calls."""
