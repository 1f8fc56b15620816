"""The portrait service: figures of accounts by week, month and quarter, their trends and likeness."""
