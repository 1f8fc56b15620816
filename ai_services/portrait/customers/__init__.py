"""Customers: found by what is known of them, and the page of facts about one."""
