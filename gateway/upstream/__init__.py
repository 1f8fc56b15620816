"""The services' instances: discovery, pools, load balancing, attempts and hedges, connections.

Which service a request goes to is `routing`'s, what its client sees is `proxy`'s.
"""
