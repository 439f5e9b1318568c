"""Several hosts that train one run together: who they are, whether they agree, when they stop, and how they end."""
