"""Failpoints: deterministic deaths, stops, delays and time-outs at named places of a worker. The product knows nothing of them."""
