"""The limits of the wire. A message past one of them is refused before it is read further."""

# Indices and timestamps stay exact in languages whose only number is a double.
MAX_INTEGER = 2**53 - 1

# A header holds a Brief, whose texts are the largest thing in it, and a few dozen numbers.
MAX_HEADER_BYTES = 64 * 1024

# Maps and arrays inside one another. No message needs more than four; the rest is for keys that a newer peer may add.
# Past some hundreds, printing a value into an error would run out of stack.
MAX_NESTING = 16

# 16384 x 16384 is the largest picture that common video codecs allow on a side; JPEG goes to 65535.
MAX_SIDE = 16_384

# 8192 x 8192 pixels: 8K video with room to spare. At four bytes a pixel one payload is 256 MiB.
MAX_PICTURE_PIXELS = 2**26
MAX_PAYLOAD_BYTES = 4 * MAX_PICTURE_PIXELS

# A raw and a painted picture and one payload for each of the four maps; a frame, and MAX_CONTROLS images beside it.
MAX_PAYLOADS = 6

# Prompts are cut by text encoders at some hundreds of tokens; a longer text is a mistake.
MAX_TEXT = 4_096

# LoRAs and controls of one Brief: each control costs a third of a step more, and more LoRAs than this blur each other.
# A frame may bring an image for each control.
MAX_LORAS = 8
MAX_CONTROLS = 4

# Tags that a Brief may keep out: a list that somebody wrote by hand.
MAX_BLOCKED_TAGS = 256

# Tags and notes of one result.
MAX_TAGS = 128

# Names of looks, engines, clients: something to type and to print in a table.
MAX_NAME = 200

# Sessions of one connection are numbered by the client; ten thousand at once is a runaway loop.
MAX_SESSION = 2**31 - 1

# No daemon keeps more frames of one session in hand than this, whatever it is configured to.
MAX_WINDOW = 1_024

# Of these so many wait for what comes after them, and not if they take so many bytes with all that belongs to them:
# those of 768x512 pixels take 21 MB each, of a painter that is quick 17 MB, or 8 MB once they follow a keyframe back.
MAX_WAITING = 512
MAX_WAITING_BYTES = 2**31

# Raw pictures that may be on their way to somebody who watches: more would be seen no sooner, and fill memory.
MAX_WATCH_WINDOW = 16

# Frames a second that a source may announce: cameras for slow motion end here.
MAX_RATE = 1_000

# The longest delay that a live session may allow, milliseconds: past a minute nobody calls it live.
MAX_DELAY_MS = 60_000

# The longest that a session may wait for a client that is gone, seconds: it holds memory all that time.
MAX_LINGER_S = 86_400

# Requests of one session that may wait for their answers, beside its frames: more is a runaway client.
MAX_REQUESTS = 60

# A status lists so many sessions: more would not fit a header.
MAX_STATUS_SESSIONS = 96
