"""Live streams between two URLs: a stock ffmpeg writes to one and a stock ffmpeg reads from the other."""
