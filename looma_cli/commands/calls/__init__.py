"""Commands about calls: bringing them in, taking them back, judging them."""
