"""The processes of `looma up`: what runs, on which ports, started again, stopped in order."""
