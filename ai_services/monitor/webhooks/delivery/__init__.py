"""From a delivery that is due to its end: who is next, where it may go, what came back."""
