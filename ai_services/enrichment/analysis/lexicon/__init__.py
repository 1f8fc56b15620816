"""The vocabulary of the local analyser, and weighing a text by it."""
