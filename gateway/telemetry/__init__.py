"""What the gateway counts and traces, and the metrics page that shows it.

Adding up the pages of several processes over their channel is in `workers`.
"""
