"""The wire: messages, the Brief, codes, limits. Pure: no sockets, no threads, no cv2, no torch."""
