"""Conditions over the figures of somebody, written by people: `connect_rate < 0.3 and total_calls >= 5`.

The language is a part of Python's expressions, by Python's own precedence: comparisons (chained,
too), `and`, `or`, `not`, `+ - * / // %`, `in` and `not in` of a list of literals, the functions `int
float len max min abs round`, numbers, texts, True and False, and the fields of a schema, of which a
map of counts is read by `event_counts.get("call", 0)`. `check` makes a typed form of a text, or says
where it is wrong; `closure` (one row), `columns` (numpy) and `sql` lower that form, to the same result.

**Types.** `int` has 64 bits, `float` is an IEEE double, `text`, `bool`, `counts` (text → int). Where an int
meets a float it becomes the nearest float first; texts and bools are compared with == != in only. What a
condition needs is a bool: a number is none.

**Null** is what isn't known. Arithmetic with null is null, and so is a function of null; a division by
zero is null, and what is beyond an int's 64 bits or a float's ±1e100 (what is nearer to zero than 1e-100
is 0). A comparison with null is unknown; `and`, `or` and `not` follow Kleene's logic, as SQL does: unknown
and False is False, unknown or True is True, not unknown is unknown. What is unknown in the end counts as
false, wherever something is decided, and is shown as unknown. A key that a map lacks is the default of
`get`, or null without one; of a map that is null, every key is null.

**Whole numbers.** `/` gives a float, always. `//` and `%` are for ints: the quotient is rounded down, the
remainder has the divisor's sign, as in Python. `int(x)` cuts off towards zero.

**Rounding.** `round(x)` is the nearest int, and of two that are equally near the even one. `round(x, n)`,
n from 0 to 6, is the nearest int to x·10ⁿ by that rule, divided by 10ⁿ, each step in doubles: of 2.675
it is 2.68, where Python's own, which looks at the exact decimal, gives 2.67.

**Bounds** stand in `limits`. A text that is refused raises ExpressionInvalid with line, column and hint of
each fault, and nothing else is raised, whatever the text is.
"""
