"""Agents: the WebSocket over which they get work and say what they did."""
