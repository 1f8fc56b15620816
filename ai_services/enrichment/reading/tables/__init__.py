"""Tables of calls: text with separators, sheets of workbooks, HTML; where their header is, what of
them are calls.
"""
