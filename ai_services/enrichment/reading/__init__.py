"""Files of calls as tables of cells: formats, headers, columns, transcripts.

Whether a cell's value is right is decided in `validation`.
"""
