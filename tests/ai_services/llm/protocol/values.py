"""Values that several property tests draw."""

from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXTS
PLAIN |= st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces, cut at any places."""
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


CUTS = st.lists(st.integers(0, 10_000), max_size=40)
