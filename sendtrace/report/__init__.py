"""`sendtrace report`: a period beside the one before it, in a terminal, as JSON and as one page."""
