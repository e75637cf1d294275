"""The workload behind standardized HTTP endpoints: ffmpeg transcoding."""
