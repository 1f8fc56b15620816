"""Training models of one's own. Only the command line imports it: scikit-learn is its dependency alone."""
