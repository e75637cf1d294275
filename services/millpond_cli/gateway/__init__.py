"""The gateway client: a video goes out in segments and comes back in renditions."""
