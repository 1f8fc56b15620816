"""The services behind the gateway, one package each. They never import each other."""
