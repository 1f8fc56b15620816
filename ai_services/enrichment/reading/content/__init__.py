"""A file's bytes as text: unpacked, decoded, in blocks of lines."""
