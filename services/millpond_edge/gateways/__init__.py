"""Gateways: their blobs, their jobs, and what becomes of them."""
