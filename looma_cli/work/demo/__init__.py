"""Generated calls: dialogues and the year of an invented company."""
