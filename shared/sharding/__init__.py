"""One function over many shards of its data, on all cores of this machine or, by Ray, of many."""
