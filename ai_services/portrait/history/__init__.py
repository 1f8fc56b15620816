"""All periods of a subject, newest first, and two of them side by side."""
