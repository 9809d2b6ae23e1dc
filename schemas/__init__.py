"""The contract every part of sendtrace shares: records, words, identity, topics and ports.

Imports nothing of ours. A change here changes what subscribers, analysts and operators see.
"""
