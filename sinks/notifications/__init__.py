"""Tells people of incidents: routed by label, grouped, throttled, signed, retried; each target by itself."""
