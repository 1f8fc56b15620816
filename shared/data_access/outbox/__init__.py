"""The transactional outbox: events written with the change they tell of, and their relay."""
