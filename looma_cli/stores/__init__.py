"""The stores as one command opens them, and what it asks the database itself."""
