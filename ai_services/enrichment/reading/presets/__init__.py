"""Presets: which columns of a file are which fields, as column maps in TOML and what they derive."""
