"""Who was called: identities from numbers, customers who are one, and erasure of calls and customers."""
