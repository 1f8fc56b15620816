"""What drives the gateway, its rivals and what stands before models: load, hosts, turns."""
