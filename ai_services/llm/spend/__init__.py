"""Money: reservations and settlements of attempts, budgets, costs."""
