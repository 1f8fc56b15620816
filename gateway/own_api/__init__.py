"""What the gateway answers itself: health, metrics, operators' views, the batch endpoint.

The descriptions of all services' APIs are `api_docs`'.
"""
