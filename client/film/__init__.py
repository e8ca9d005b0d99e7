"""Films: reading and writing them, with their sound, their times and their colours as they are."""
