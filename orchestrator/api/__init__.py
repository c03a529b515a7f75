"""HTTP: what clients and load balancers ask a server. Shapes live here only."""
