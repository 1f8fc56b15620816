"""Judging transcripts: the local analyser, and working off those that wait."""
