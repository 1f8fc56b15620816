"""Conditions over the figures of somebody, written by people: `connect_rate < 0.3 and total_calls >= 5`.

`check` makes a typed form of a text, or says where it is wrong; `closure` (one row), `columns` (numpy)
and `sql` lower that form, all three to the same result. Null semantics, rounding and bounds are those of
docs/expressions.md.
"""
