"""`make pictures`: the boards of `dashboards/`, drawn from a live daemon's figures."""
