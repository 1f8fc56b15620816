"""Asking a model about calls: what shares a request, its marks, its pace, and what of an answer holds."""
