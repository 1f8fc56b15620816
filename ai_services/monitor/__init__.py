"""The monitor service: jobs and schedules of organisations, how the platform is, and webhooks."""
