"""How the platform is: services, stores and what waits, asked at once and shown as one document."""
