"""Segments: who fulfils a condition over the figures of their portrait."""
