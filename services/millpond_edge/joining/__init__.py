"""Joining: devices, delegations, and the page on which a wallet signs."""
