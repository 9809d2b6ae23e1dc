"""The gateway: takes postbacks over HTTP and answers 200 only when their bytes are durable.

Imports only `schemas`. It reads heads, never bodies: what a postback means is not decided here.
"""
