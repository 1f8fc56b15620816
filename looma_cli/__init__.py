"""`looma`, the command line: composition root of everything on one machine."""
