"""UnifiedDataAccess: the ports to the stores, their errors, and an adapter per store in each folder.

Driver exceptions never leave it. The queries of a service stand in that service.
"""
