"""`looma analyze`: models of one's own, trained and measured."""
