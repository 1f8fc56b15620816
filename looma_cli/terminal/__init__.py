"""Writing for people: console, tables, bars."""
