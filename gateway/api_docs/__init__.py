"""`/openapi.json` and `/docs`: the services' descriptions merged, and the page that shows them."""
