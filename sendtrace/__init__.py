"""The application: settings, command line and wiring of gateway, processors and tables.

The only package that knows all the others; nothing imports it.
"""
