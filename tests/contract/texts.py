"""Texts that find the places where text is taken for something else."""

NASTY = (
    "",
    "王小明 说：你好，世界",
    "emoji 👩‍👩‍👧‍👦 🇨🇳 ☎️",
    "مرحبا بالعالم — RTL",
    "'; DROP TABLE organisation; --",
    "$1 $$ \\ \\\\ %s {0} {{}}",
    "`) DETACH DELETE n //",
    "<script>alert('x')</script> & <em>not a match</em>",
    "line\nbreak\ttab\r\n",
    "\u202eright to left override\u200b\ufeff",
    "NULL",
    "é vs e\u0301",
)
