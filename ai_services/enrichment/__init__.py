"""The enrichment service: brings calls in, analyses their transcripts, answers questions about them."""
