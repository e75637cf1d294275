"""The stream library's ports in memory: for unit tests of rules, and the simulator."""
