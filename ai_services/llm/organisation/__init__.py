"""Settings of an organisation: what it decides about its requests to models."""
