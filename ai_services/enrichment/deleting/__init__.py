"""Deleting calls: with what was said in them, and with everybody told who made something of them."""
