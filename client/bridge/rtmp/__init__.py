"""The server's side of RTMP, as far as a publisher needs it: Adobe's "Real Time Messaging Protocol" 1.0 of 2012.

Bytes in, events and bytes out; `listener.py` adds the sockets. It is our own, as no library may be left alone with
strangers: pyrtmp bounds neither messages nor chunk streams, checks input by assert and rests since 2024; rtmplite3 is
under the GPL and rests since 2021; FFmpeg's own listener takes any key, and serves one connection at a time.
"""
