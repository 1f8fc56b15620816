"""From a credential to its caller: access tokens, API keys, external issuers, revocations.

What a caller may do is the route's scope; how often, `limits`.
"""
