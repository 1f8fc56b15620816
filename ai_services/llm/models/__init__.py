"""The models file as values: providers, models, deployments, prices by date."""
