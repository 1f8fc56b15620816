"""What the processes of a home have logged: files read, lines understood, chosen, shown."""
