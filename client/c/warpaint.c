/* The client of Warpaint for C. See warpaint.h for how it is used, proto/SPEC.md for what is said on the wire.
 *
 * From top to bottom: texts and limits; MessagePack, checked before it is unpacked; the tables of the protocol, and the
 * check of a header against them; headers to be sent; the ledger of what a session is owed; a session; the sockets; the
 * functions of warpaint.h.
 */
#define _POSIX_C_SOURCE 200809L

#include "warpaint.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <msgpack.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

/* Texts and limits */

#define VERSION 1
#define MAX_INTEGER 9007199254740991.0 /* as a double, in which it is exact */
#define MAX_HEADER_BYTES 65536
#define MAX_NESTING 16
#define MAX_SIDE 16384
#define MAX_PICTURE_PIXELS 67108864
#define MAX_PAYLOAD_BYTES 268435456
#define MAX_PAYLOADS 6
#define MAX_TEXT 4096
#define MAX_LORAS 8
#define MAX_CONTROLS 4
#define MAX_BLOCKED_TAGS 256
#define MAX_TAGS 128
#define MAX_NAME 200
#define MAX_SESSION 2147483647.0
#define MAX_WINDOW 1024
#define MAX_WATCH_WINDOW 16
#define MAX_RATE 1000
#define MAX_DELAY_MS 60000
#define MAX_LINGER_S 86400
#define MAX_REQUESTS 60
#define MAX_CHANGES 64
#define MAX_STAGES 32
#define MAX_MAPS 4 /* of a result */
#define MAX_WEIGHT 4.0 /* of a LoRA or a control, either way */

/* A daemon answers a ping at once, whatever it paints; one that has not for this long is gone. */
#define PATIENCE_MS 10000
/* After this long without a word the client asks whether the daemon is still there. */
#define SILENCE_MS 2000
/* How long a lost connection may take to come back, however long the session would wait. */
#define LONGEST_WAIT_MS 60000
/* How often time is looked at while something is amiss. */
#define LOOK_MS 200
/* Attempts to connect: at first most losses are a matter of moments; a daemon that starts takes most of a second. */
#define RECONNECT_MS 50
#define LONGEST_RECONNECT_MS 200
/* ZeroMQ asks the other end now and then whether it is there, as a cable that is pulled tells nobody; together shorter
 * than PATIENCE_MS, so that this is a loss, not the end. */
#define HEARTBEAT_MS 2000
#define HEARTBEAT_TIMEOUT_MS 5000
/* Kernel buffers of a tcp connection. */
#define SOCKET_BUFFER (4 * 1024 * 1024)
/* How long the last words, which end the sessions, may take. */
#define LAST_WORDS_MS 1000
/* Messages taken in one go: a daemon that never stops talking must not keep the caller. */
#define TAKEN_AT_ONCE 256
/* Requests whose answers are remembered. */
#define REMEMBERED 128

static const char *const REASONS[] = {"none",
                                      "bad_message",
                                      "unsupported_version",
                                      "unknown_type",
                                      "invalid_field",
                                      "too_large",
                                      "no_session",
                                      "session_exists",
                                      "too_many_sessions",
                                      "unknown_token",
                                      "overloaded",
                                      "unknown_engine",
                                      "bad_brief",
                                      "unsupported",
                                      "bad_payload",
                                      "bad_frame",
                                      "bad_index",
                                      "window_overrun",
                                      "superseded",
                                      "late",
                                      "slow_reader",
                                      "lost",
                                      "painter_failed",
                                      "painter_timeout",
                                      "resource_exhausted",
                                      "prompt_cut",
                                      "no_still",
                                      "flow_failed",
                                      "encoder_failed",
                                      "cancelled",
                                      "shutting_down",
                                      "internal",
                                      NULL};
static const char *const CODES[] = {"WP_OK",   "WP_AGAIN",   "WP_END",    "WP_REFUSED",
                                    "WP_GONE", "WP_INVALID", "WP_MEMORY", "WP_SYSTEM"};
static const char *const ENCODINGS[] = {"raw", "jpeg", "mjpeg", "h264", "hevc", "vp8", "vp9", "av1", NULL};
static const char *const PIXELS[] = {"bgr24", "rgb24", "bgra", "gray", "yuv420p", "nv12", NULL};
static const char *const MATRICES[] = {"bt601", "bt709", "bt2020", NULL};
static const char *const PACINGS[] = {"every", "live", NULL};
static const char *const MAPS[] = {"flow", "confidence", "hops", "holes", NULL};
static const char *const VIEWS[] = {"raw", "painted", NULL};
static const char *const SEEN_PARTS[] = {"raw", "painted", "flow", "confidence", "hops", "holes", NULL};
static const char *const PARTS[] = {"picture", "flow", "confidence", "hops", "holes", NULL};
static const char *const DTYPES[] = {"uint8", "float32", NULL};
static const char *const PROVENANCES[] = {"painted", "warped", "filled", "held", NULL};
static const char *const RETRIES[] = {"no", "changed", "later", NULL};
static const char *const ENDINGS[] = {"asked", "shutting_down", "client_gone", "failed", "moved", NULL};
static const char *const ENGINE_KINDS[] = {"painter", "flow", NULL};
static const char *const SCHEDULERS[] = {"ddim", "dpm++", "euler", "euler_a", "lcm", "tcd", "unipc", NULL};
static const char *const VAES[] = {"full", "tiny", NULL};
static const char *const KEYFRAME_STARTS[] = {"raw", "warped", NULL};
static const char *const KEYFRAMES[] = {"auto", "marked", NULL};
static const char *const UNPAINTED[] = {"raw", "held", NULL};
static const char *const ENTRY[] = {"lazy", "fade", NULL};

const char *wp_reason_name(wp_reason reason)
{
    return (unsigned)reason <= WP_REASON_INTERNAL ? REASONS[reason] : "unknown";
}

const char *wp_code_name(wp_code code)
{
    return (unsigned)code <= WP_SYSTEM ? CODES[code] : "unknown";
}

/* Why something is no message, or no option: the code to answer with, and a sentence. */
struct complaint {
    wp_reason code;
    char text[240];
};

/* Returns false, so that a check can end with it. */
__attribute__((format(printf, 3, 4))) static bool complain(struct complaint *complaint, wp_reason code,
                                                           const char *format, ...)
{
    va_list arguments;

    complaint->code = code;
    va_start(arguments, format);
    vsnprintf(complaint->text, sizeof complaint->text, format, arguments);
    va_end(arguments);
    return false;
}

/* Puts the name of what a complaint lies in before it. Returns false. */
static bool within(struct complaint *complaint, const char *where)
{
    char inner[sizeof complaint->text];

    memcpy(inner, complaint->text, sizeof inner);
    snprintf(complaint->text, sizeof complaint->text, "%.40s.%.190s", where, inner);
    return false;
}

/* MessagePack, checked before it is unpacked: afterwards nothing in it claims more than is there, so that unpacking
 * takes memory in proportion to the header, which is bounded. */

/* The length of a UTF-8 text in code points; -1: it is none. */
static int64_t code_points(const char *text, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + bytes;
    int64_t count = 0;

    for (; at < end; count++) {
        unsigned char lead = *at++;
        unsigned char low = 0x80, high = 0xbf;
        int more;

        if (lead < 0x80)
            continue;
        if (lead >= 0xc2 && lead <= 0xdf)
            more = 1;
        else if (lead >= 0xe0 && lead <= 0xef)
            more = 2;
        else if (lead >= 0xf0 && lead <= 0xf4)
            more = 3;
        else
            return -1;
        if (lead == 0xe0)
            low = 0xa0; /* else there is a shorter form */
        else if (lead == 0xed)
            high = 0x9f; /* else a surrogate */
        else if (lead == 0xf0)
            low = 0x90;
        else if (lead == 0xf4)
            high = 0x8f; /* past U+10FFFF */
        for (; more > 0; more--, low = 0x80, high = 0xbf)
            if (at >= end || *at < low || *at++ > high)
                return -1;
    }
    return count;
}

enum shape { SCALAR, STRING, ARRAY, MAPPING };

/* One value's first bytes: what it is, how many bytes its head has, and its size: bytes that follow, or items. */
struct head {
    enum shape shape;
    size_t bytes;
    uint64_t size;
};

static uint64_t big_endian(const unsigned char *at, size_t bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | *at++;
    return value;
}

/* A head whose size is written in `bytes` bytes after the first one, and `more` bytes besides. */
static bool sized(struct head *head, enum shape shape, const unsigned char *at, size_t left, size_t bytes, size_t more)
{
    if (left < 1 + bytes + more)
        return false;
    head->shape = shape;
    head->bytes = 1 + bytes + more;
    head->size = big_endian(at + 1, bytes);
    return true;
}

static bool fixed(struct head *head, enum shape shape, size_t bytes, uint64_t size)
{
    head->shape = shape;
    head->bytes = bytes;
    head->size = size;
    return true;
}

/* Reads a head; false if it is cut short, or none. */
static bool read_head(struct head *head, const unsigned char *at, size_t left)
{
    unsigned char first;

    if (left == 0)
        return false;
    first = *at;
    if (first <= 0x7f || first >= 0xe0 || first == 0xc0 || first == 0xc2 || first == 0xc3)
        return fixed(head, SCALAR, 1, 0);
    if (first <= 0x8f)
        return fixed(head, MAPPING, 1, first & 0x0f);
    if (first <= 0x9f)
        return fixed(head, ARRAY, 1, first & 0x0f);
    if (first <= 0xbf)
        return fixed(head, STRING, 1, first & 0x1f);
    if (first >= 0xc4 && first <= 0xc6) /* bin */
        return sized(head, SCALAR, at, left, (size_t)1 << (first - 0xc4), 0);
    if (first >= 0xc7 && first <= 0xc9) /* ext, with a byte for its type */
        return sized(head, SCALAR, at, left, (size_t)1 << (first - 0xc7), 1);
    if (first == 0xca || first == 0xcb)
        return fixed(head, SCALAR, 1, first == 0xca ? 4 : 8);
    if (first >= 0xcc && first <= 0xcf)
        return fixed(head, SCALAR, 1, (uint64_t)1 << (first - 0xcc));
    if (first >= 0xd0 && first <= 0xd3)
        return fixed(head, SCALAR, 1, (uint64_t)1 << (first - 0xd0));
    if (first >= 0xd4 && first <= 0xd8) /* fixext, with a byte for its type */
        return fixed(head, SCALAR, 1, 1 + ((uint64_t)1 << (first - 0xd4)));
    if (first >= 0xd9 && first <= 0xdb)
        return sized(head, STRING, at, left, (size_t)1 << (first - 0xd9), 0);
    if (first == 0xdc || first == 0xdd)
        return sized(head, ARRAY, at, left, first == 0xdc ? 2 : 4, 0);
    if (first == 0xde || first == 0xdf)
        return sized(head, MAPPING, at, left, first == 0xde ? 2 : 4, 0);
    return false; /* 0xc1 is reserved */
}

/* Whether these bytes are one MessagePack map, whole, with nothing after it. Does not recurse. */
static bool check_packed(const unsigned char *data, size_t size, struct complaint *complaint)
{
    struct {
        uint64_t left; /* values to come; of a map two an entry: a key is due when it is even */
        bool is_map;
    } levels[MAX_NESTING];
    size_t at = 0;
    int depth = 0;

    do {
        struct head head;
        bool is_key = depth > 0 && levels[depth - 1].is_map && levels[depth - 1].left % 2 == 0;

        if (!read_head(&head, data + at, size - at))
            return complain(complaint, WP_REASON_BAD_MESSAGE, "the header is cut short at byte %zu, or no MessagePack",
                            at);
        at += head.bytes;
        if (head.shape != MAPPING && depth == 0)
            return complain(complaint, WP_REASON_BAD_MESSAGE, "the header must be a MessagePack map");
        if (head.shape != STRING && is_key)
            return complain(complaint, WP_REASON_BAD_MESSAGE, "a key of the header is no text");
        if (head.size > size - at)
            return complain(complaint, WP_REASON_BAD_MESSAGE, "the header claims more than is there, at byte %zu", at);
        if (depth > 0)
            levels[depth - 1].left--;
        if (head.shape == ARRAY || head.shape == MAPPING) {
            if (depth == MAX_NESTING)
                return complain(complaint, WP_REASON_BAD_MESSAGE, "the header nests more than %d deep", MAX_NESTING);
            levels[depth].is_map = head.shape == MAPPING;
            levels[depth++].left = head.shape == MAPPING ? 2 * head.size : head.size;
        } else {
            if (head.shape == STRING && code_points((const char *)data + at, (size_t)head.size) < 0)
                return complain(complaint, WP_REASON_BAD_MESSAGE, "a text of the header is not UTF-8");
            at += (size_t)head.size;
        }
        while (depth > 0 && levels[depth - 1].left == 0)
            depth--;
    } while (depth > 0);
    if (at != size)
        return complain(complaint, WP_REASON_BAD_MESSAGE, "%zu bytes are left over after the header", size - at);
    return true;
}

/* Values of a header */

static bool is_text(const msgpack_object *object, const char *text)
{
    return object->type == MSGPACK_OBJECT_STR && object->via.str.size == strlen(text) &&
           memcmp(object->via.str.ptr, text, object->via.str.size) == 0;
}

/* The value of a key; NULL: it is not there. Of a key that comes twice the last one counts. */
static const msgpack_object *find(const msgpack_object *map, const char *key)
{
    uint32_t number = map->via.map.size;

    while (number-- > 0)
        if (is_text(&map->via.map.ptr[number].key, key))
            return &map->via.map.ptr[number].val;
    return NULL;
}

/* The same, but NULL for nil too. */
static const msgpack_object *given(const msgpack_object *map, const char *key)
{
    const msgpack_object *found = find(map, key);

    return found != NULL && found->type != MSGPACK_OBJECT_NIL ? found : NULL;
}

static bool is_integer(const msgpack_object *object)
{
    return object->type == MSGPACK_OBJECT_POSITIVE_INTEGER || object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
}

static double number_of(const msgpack_object *object)
{
    if (object->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        return (double)object->via.u64;
    if (object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return (double)object->via.i64;
    return object->via.f64;
}

/* Fields of a header that was checked: what they hold, or `otherwise` if they are left out or nil. */

static int64_t integer_at(const msgpack_object *map, const char *key, int64_t otherwise)
{
    const msgpack_object *found = given(map, key);

    if (found == NULL)
        return otherwise;
    return found->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? (int64_t)found->via.u64 : found->via.i64;
}

static double number_at(const msgpack_object *map, const char *key, double otherwise)
{
    const msgpack_object *found = given(map, key);

    return found == NULL ? otherwise : number_of(found);
}

static bool boolean_at(const msgpack_object *map, const char *key, bool otherwise)
{
    const msgpack_object *found = given(map, key);

    return found == NULL ? otherwise : found->via.boolean;
}

/* Which of the names a text is; -1: none. */
static int choice_of(const msgpack_object *object, const char *const *names)
{
    int number;

    for (number = 0; names[number] != NULL; number++)
        if (is_text(object, names[number]))
            return number;
    return -1;
}

static int choice_at(const msgpack_object *map, const char *key, const char *const *names, int otherwise)
{
    const msgpack_object *found = given(map, key);

    return found == NULL ? otherwise : choice_of(found, names);
}

/* The items of a list; its count is 0 if it is left out. */
static msgpack_object_array list_at(const msgpack_object *map, const char *key)
{
    const msgpack_object *found = given(map, key);
    msgpack_object_array none = {0, NULL};

    return found == NULL ? none : found->via.array;
}

/* The tables of the protocol: proto/SPEC.md has them in words. */

enum form {
    INTEGER,
    NUMBER,
    BOOLEAN,
    TEXT,     /* of least to most code points */
    CHOICE,   /* one of the names */
    QUARTER,  /* degrees: 0, 90, 180 or 270 */
    INTEGERS, /* lists of fewest to most_items */
    TEXTS,
    CHOICES,
    MAP, /* a map inside, by a table */
    LIST_OF_MAPS,
    NUMBERS, /* a map of names to numbers */
    COUNTS,  /* a map of names to integers */
    CHANGES  /* a map of names to any value of the Brief */
};

enum { REQUIRED = 1, OR_NIL = 2, EXCLUSIVE = 4 /* least itself is not allowed */ };

struct table;

struct field {
    const char *key;
    enum form form;
    unsigned flags;
    double least, most;
    uint32_t fewest, most_items;
    const char *const *names;
    const struct table *inside;
};

struct table {
    const char *name;
    const struct field *fields; /* the last one has no key */
    bool closed;                /* a key that is not there is refused */
    bool (*also)(const msgpack_object *map, struct complaint *complaint);
};

#define INT(key, flags, least, most) {key, INTEGER, flags, least, most, 0, 0, NULL, NULL}
#define COUNT(key, flags) INT(key, flags, 0, MAX_INTEGER)
#define NUM(key, flags, least, most) {key, NUMBER, flags, least, most, 0, 0, NULL, NULL}
#define FROM_ZERO(key, flags) NUM(key, flags, 0, DBL_MAX)
#define BOOL(key, flags) {key, BOOLEAN, flags, 0, 0, 0, 0, NULL, NULL}
#define STR(key, flags, least, most) {key, TEXT, flags, least, most, 0, 0, NULL, NULL}
#define NAME(key, flags) STR(key, flags, 1, MAX_NAME)
#define ONE_OF(key, flags, names) {key, CHOICE, flags, 0, 0, 0, 0, names, NULL}
#define INTS(key, flags, least, fewest, most) {key, INTEGERS, flags, least, MAX_INTEGER, fewest, most, NULL, NULL}
#define NAMES(key, flags, fewest, most) {key, TEXTS, flags, 1, MAX_NAME, fewest, most, NULL, NULL}
#define INSIDE(key, flags, table) {key, MAP, flags, 0, 0, 0, 0, NULL, table}
#define LIST_OF(key, flags, fewest, most, table) {key, LIST_OF_MAPS, flags, 0, 0, fewest, most, NULL, table}
#define SESSION INT("session", REQUIRED, 0, MAX_SESSION)
#define REQUEST COUNT("request", REQUIRED)
#define SEQ COUNT("seq", OR_NIL)
#define END {NULL, INTEGER, 0, 0, 0, 0, 0, NULL, NULL}

static bool check_source(const msgpack_object *map, struct complaint *complaint);
static bool check_brief(const msgpack_object *map, struct complaint *complaint);
static bool check_open(const msgpack_object *map, struct complaint *complaint);
static bool check_frame(const msgpack_object *map, struct complaint *complaint);
static bool check_watch(const msgpack_object *map, struct complaint *complaint);

static const struct field COLOUR_FIELDS[] = {ONE_OF("matrix", OR_NIL, MATRICES), BOOL("full_range", 0), END};
static const struct table COLOUR = {"colour", COLOUR_FIELDS, false, NULL};

static const struct field SOURCE_FIELDS[] = {INT("width", REQUIRED, 1, MAX_SIDE),
                                             INT("height", REQUIRED, 1, MAX_SIDE),
                                             ONE_OF("encoding", 0, ENCODINGS),
                                             ONE_OF("pixels", 0, PIXELS),
                                             INTS("strides", OR_NIL, 1, 0, 4),
                                             INSIDE("colour", 0, &COLOUR),
                                             INTS("time_base", 0, 1, 2, 2),
                                             INTS("sample_aspect", 0, 1, 2, 2),
                                             {"rotation", QUARTER, 0, 0, 270, 0, 0, NULL, NULL},
                                             NUM("rate", OR_NIL | EXCLUSIVE, 0, MAX_RATE),
                                             END};
static const struct table SOURCE = {"source", SOURCE_FIELDS, false, check_source};

static const struct field RESULT_FIELDS[] = {ONE_OF("encoding", 0, ENCODINGS), ONE_OF("pixels", 0, PIXELS),
                                             INT("quality", 0, 1, 100),        INT("crf", 0, 0, 51),
                                             INT("gop_frames", 0, 1, 10000),   END};
static const struct table RESULT = {"result", RESULT_FIELDS, false, NULL};

static const struct field BRIEF_FIELDS[] = {NAME("look", OR_NIL),
                                            STR("prompt", 0, 0, MAX_TEXT),
                                            STR("negative_prompt", 0, 0, MAX_TEXT),
                                            NUM("strength", 0, 0, 1),
                                            COUNT("seed", 0),
                                            BOOL("vary_seed", 0),
                                            INT("steps", 0, 1, 150),
                                            NUM("guidance", 0, 0, 30),
                                            ONE_OF("scheduler", 0, SCHEDULERS),
                                            NAMES("loras", 0, 0, MAX_LORAS),
                                            NAMES("controls", 0, 0, MAX_CONTROLS),
                                            ONE_OF("vae", 0, VAES),
                                            INT("clip_skip", 0, 0, 11),
                                            NUM("prompt_fade_s", 0, 0, 60),
                                            ONE_OF("keyframe_start", 0, KEYFRAME_STARTS),
                                            BOOL("attend_last", 0),
                                            NUM("colour_lock_s", 0, 0, 3600),
                                            NUM("tag_threshold", 0, 0, 1),
                                            STR("tag_prefix", 0, 0, MAX_TEXT),
                                            NAMES("tag_block", 0, 0, MAX_BLOCKED_TAGS),
                                            ONE_OF("keyframes", 0, KEYFRAMES),
                                            NUM("keyframe_threshold", 0, 0, 255),
                                            NUM("keyframe_gap_min_s", 0, 0, 3600),
                                            NUM("keyframe_gap_max_s", EXCLUSIVE, 0, 3600),
                                            BOOL("cut_detection", 0),
                                            NUM("hole_limit", 0, 0, 1),
                                            NUM("hole_limit_s", 0, 0, 3600),
                                            NUM("repaint_gap_s", 0, 0, 3600),
                                            NUM("lookahead_s", 0, 0, 60),
                                            NUM("confidence", 0, 0, 1),
                                            INT("max_hops", 0, 1, 254),
                                            INT("references", 0, 1, 8),
                                            INT("idle_keyframes", 0, 0, 16),
                                            ONE_OF("keyframe_entry", 0, ENTRY),
                                            BOOL("follow_light", 0),
                                            NUM("fade_s", 0, 0, 10),
                                            ONE_OF("when_unpainted", 0, UNPAINTED),
                                            INT("feather", 0, 0, 64),
                                            END};
static const struct table BRIEF = {"brief", BRIEF_FIELDS, true, check_brief};

static const struct field OPEN_FIELDS[] = {SESSION,
                                           INSIDE("source", REQUIRED, &SOURCE),
                                           INSIDE("result", 0, &RESULT),
                                           INSIDE("brief", 0, &BRIEF),
                                           NAME("painter", OR_NIL),
                                           NAME("flow", OR_NIL),
                                           ONE_OF("pacing", 0, PACINGS),
                                           NUM("max_delay_ms", 0, 1, MAX_DELAY_MS),
                                           NUM("linger_s", OR_NIL, 0, MAX_LINGER_S),
                                           INT("max_pixels", OR_NIL, 64, MAX_PICTURE_PIXELS),
                                           {"maps", CHOICES, 0, 0, 0, 0, MAX_MAPS, MAPS, NULL},
                                           STR("client", 0, 0, MAX_NAME),
                                           END};
static const struct field RESUME_FIELDS[] = {SESSION, NAME("token", REQUIRED), COUNT("seq", 0), END};
static const struct field ACK_FIELDS[] = {SESSION, COUNT("seq", REQUIRED), END};
static const struct field FRAME_FIELDS[] = {SESSION, COUNT("index", REQUIRED),
                                            INT("pts", REQUIRED, -MAX_INTEGER, MAX_INTEGER),
                                            NAMES("controls", 0, 0, MAX_CONTROLS), BOOL("keyframe", 0), END};
static const struct field UPDATE_FIELDS[] = {
    SESSION, REQUEST, {"changes", CHANGES, REQUIRED, 0, 0, 0, MAX_CHANGES, NULL, NULL}, END};
static const struct field REQUEST_FIELDS[] = {SESSION, REQUEST, END};
static const struct field HOLD_FIELDS[] = {SESSION, REQUEST, BOOL("on", REQUIRED), END};
static const struct field WATCH_FIELDS[] = {SESSION,
                                            NAME("id", REQUIRED),
                                            {"pictures", CHOICES, 0, 0, 0, 0, 2, VIEWS, NULL},
                                            {"maps", CHOICES, 0, 0, 0, 0, MAX_MAPS, MAPS, NULL},
                                            INT("window", 0, 1, MAX_WATCH_WINDOW),
                                            END};
static const struct field SESSION_FIELDS[] = {SESSION, END};
static const struct field CLOSE_FIELDS[] = {SESSION, BOOL("discard", 0), END};
static const struct field NONCE_FIELDS[] = {COUNT("nonce", 0), END};
static const struct field NO_FIELDS[] = {END};

static const struct table TO_SERVER[] = {
    {"open", OPEN_FIELDS, false, check_open}, {"resume", RESUME_FIELDS, false, NULL},
    {"ack", ACK_FIELDS, false, NULL},         {"frame", FRAME_FIELDS, false, check_frame},
    {"update", UPDATE_FIELDS, false, NULL},   {"rekey", REQUEST_FIELDS, false, NULL},
    {"hold", HOLD_FIELDS, false, NULL},       {"watch", WATCH_FIELDS, false, check_watch},
    {"flush", REQUEST_FIELDS, false, NULL},   {"request_keyframe", SESSION_FIELDS, false, NULL},
    {"close", CLOSE_FIELDS, false, NULL},     {"ping", NONCE_FIELDS, false, NULL},
    {"pong", NONCE_FIELDS, false, NULL},      {"status", NO_FIELDS, false, NULL},
    {NULL, NULL, false, NULL}};

static const struct field OPENED_FIELDS[] = {SESSION,
                                             NAME("token", REQUIRED),
                                             INT("credit", REQUIRED, 1, MAX_WINDOW),
                                             COUNT("epoch", REQUIRED),
                                             NAME("painter", REQUIRED),
                                             NAME("flow", REQUIRED),
                                             NAMES("looks", REQUIRED, 0, MAX_HEADER_BYTES),
                                             INT("width", REQUIRED, 1, MAX_SIDE),
                                             INT("height", REQUIRED, 1, MAX_SIDE),
                                             STR("server", REQUIRED, 0, MAX_NAME),
                                             FROM_ZERO("linger_s", 0),
                                             STR("id", 0, 0, MAX_NAME),
                                             END};
static const struct field RESUMED_FIELDS[] = {SESSION,
                                              INT("credit", REQUIRED, 1, MAX_WINDOW),
                                              COUNT("epoch", REQUIRED),
                                              COUNT("last_index", OR_NIL),
                                              COUNT("last_request", OR_NIL),
                                              INTS("pending", 0, 0, 0, 2 * MAX_WINDOW),
                                              STR("server", REQUIRED, 0, MAX_NAME),
                                              END};
static const struct field PART_FIELDS[] = {ONE_OF("name", REQUIRED, PARTS), ONE_OF("dtype", OR_NIL, DTYPES),
                                           INTS("shape", OR_NIL, 1, 0, 3), END};
static const struct table PART = {"parts", PART_FIELDS, false, NULL};
static const struct field PAINTED_FIELDS[] = {SESSION,
                                              SEQ,
                                              COUNT("index", REQUIRED),
                                              INT("pts", REQUIRED, -MAX_INTEGER, MAX_INTEGER),
                                              COUNT("epoch", REQUIRED),
                                              ONE_OF("provenance", REQUIRED, PROVENANCES),
                                              BOOL("keyframe", 0),
                                              LIST_OF("parts", REQUIRED, 1, 1 + MAX_MAPS, &PART),
                                              BOOL("coded_keyframe", 0),
                                              NUM("holes", 0, 0, 1),
                                              COUNT("painted_pixels", 0),
                                              NUM("confidence", 0, 0, 1),
                                              NAMES("tags", 0, 0, MAX_TAGS),
                                              FROM_ZERO("delay_ms", 0),
                                              {"stages_ms", NUMBERS, 0, 0, DBL_MAX, 0, MAX_STAGES, NULL, NULL},
                                              END};
static const struct field DROPPED_FIELDS[] = {SESSION,
                                              SEQ,
                                              COUNT("index", REQUIRED),
                                              INT("pts", REQUIRED, -MAX_INTEGER, MAX_INTEGER),
                                              NAME("stage", REQUIRED),
                                              ONE_OF("reason", REQUIRED, REASONS + 1),
                                              END};
static const struct field CREDIT_FIELDS[] = {SESSION, INT("frames", REQUIRED, 0, MAX_WINDOW), END};
static const struct field UPDATED_FIELDS[] = {SESSION, SEQ, REQUEST, COUNT("epoch", OR_NIL), COUNT("shown_at", OR_NIL),
                                              END};
static const struct field FLUSHED_FIELDS[] = {SESSION, SEQ, REQUEST, END};
static const struct field WATCHING_FIELDS[] = {SESSION,
                                               NAME("id", REQUIRED),
                                               STR("client", REQUIRED, 0, MAX_NAME),
                                               NAME("painter", REQUIRED),
                                               NAME("flow", REQUIRED),
                                               ONE_OF("pacing", REQUIRED, PACINGS),
                                               NAMES("looks", REQUIRED, 0, MAX_HEADER_BYTES),
                                               INSIDE("brief", REQUIRED, &BRIEF),
                                               NUM("rate", OR_NIL | EXCLUSIVE, 0, MAX_RATE),
                                               INTS("time_base", 0, 1, 2, 2),
                                               INTS("sample_aspect", 0, 1, 2, 2),
                                               INT("width", REQUIRED, 1, MAX_SIDE),
                                               INT("height", REQUIRED, 1, MAX_SIDE),
                                               BOOL("may_steer", 0),
                                               BOOL("holding", 0),
                                               COUNT("epoch", REQUIRED),
                                               END};
static const struct field SEEN_PART_FIELDS[] = {ONE_OF("name", REQUIRED, SEEN_PARTS),
                                                ONE_OF("dtype", REQUIRED, DTYPES), INTS("shape", REQUIRED, 1, 2, 3),
                                                END};
static const struct table SEEN_PART = {"parts", SEEN_PART_FIELDS, false, NULL};
static const struct field SEEN_FIELDS[] = {SESSION,
                                           INT("seq", REQUIRED, 1, MAX_INTEGER),
                                           COUNT("index", REQUIRED),
                                           INT("pts", REQUIRED, -MAX_INTEGER, MAX_INTEGER),
                                           COUNT("epoch", REQUIRED),
                                           ONE_OF("provenance", REQUIRED, PROVENANCES),
                                           BOOL("keyframe", 0),
                                           LIST_OF("parts", REQUIRED, 0, 2 + MAX_MAPS, &SEEN_PART),
                                           NUM("holes", 0, 0, 1),
                                           COUNT("painted_pixels", 0),
                                           NUM("confidence", 0, 0, 1),
                                           FROM_ZERO("delay_ms", 0),
                                           {"stages_ms", NUMBERS, 0, 0, DBL_MAX, 0, MAX_STAGES, NULL, NULL},
                                           END};
static const struct field TOTALS_FIELDS[] = {
    COUNT("received", 0),  COUNT("painted", 0),       COUNT("dropped", 0),        COUNT("failed", 0),
    COUNT("keyframes", 0), COUNT("canvas_pixels", 0), COUNT("painted_pixels", 0), END};
static const struct table TOTALS = {"totals", TOTALS_FIELDS, false, NULL};
static const struct field CLOSED_FIELDS[] = {SESSION, SEQ, ONE_OF("reason", REQUIRED, ENDINGS),
                                             INSIDE("totals", REQUIRED, &TOTALS), END};
static const struct field NOTICE_FIELDS[] = {SESSION, ONE_OF("code", REQUIRED, REASONS + 1),
                                             STR("message", REQUIRED, 0, MAX_TEXT), END};
static const struct field ENGINE_FIELDS[] = {
    NAME("name", REQUIRED),  ONE_OF("kind", REQUIRED, ENGINE_KINDS), COUNT("calls", 0),
    FROM_ZERO("mean_ms", 0), COUNT("memory_bytes", OR_NIL),          END};
static const struct table ENGINE = {"engines", ENGINE_FIELDS, false, NULL};
static const struct field SESSION_STATUS_FIELDS[] = {
    SESSION,
    STR("id", 0, 0, MAX_NAME),
    STR("client", 0, 0, MAX_NAME),
    NAME("painter", REQUIRED),
    NAME("flow", REQUIRED),
    ONE_OF("pacing", REQUIRED, PACINGS),
    INT("width", REQUIRED, 1, MAX_SIDE),
    INT("height", REQUIRED, 1, MAX_SIDE),
    COUNT("waiting", REQUIRED),
    COUNT("unsent", REQUIRED),
    COUNT("references_bytes", REQUIRED),
    BOOL("connected", 0),
    FROM_ZERO("delay_ms", 0),
    INSIDE("totals", REQUIRED, &TOTALS),
    {"stages_ms", NUMBERS, REQUIRED, 0, DBL_MAX, 0, MAX_STAGES, NULL, NULL},
    {"dropped_at", COUNTS, REQUIRED, 0, MAX_INTEGER, 0, MAX_STAGES, NULL, NULL},
    END};
static const struct table SESSION_STATUS = {"sessions", SESSION_STATUS_FIELDS, false, NULL};
static const struct field STATUS_FIELDS[] = {STR("server", REQUIRED, 0, MAX_NAME),
                                             COUNT("pid", REQUIRED),
                                             FROM_ZERO("uptime_s", REQUIRED),
                                             COUNT("resident_bytes", REQUIRED),
                                             LIST_OF("engines", REQUIRED, 0, MAX_HEADER_BYTES, &ENGINE),
                                             LIST_OF("sessions", REQUIRED, 0, MAX_HEADER_BYTES, &SESSION_STATUS),
                                             END};
static const struct field ERROR_FIELDS[] = {INT("session", OR_NIL, 0, MAX_SESSION),
                                            COUNT("index", OR_NIL),
                                            COUNT("request", OR_NIL),
                                            SEQ,
                                            ONE_OF("code", REQUIRED, REASONS + 1),
                                            ONE_OF("retry", REQUIRED, RETRIES),
                                            STR("message", REQUIRED, 0, MAX_TEXT),
                                            END};

static const struct table TO_CLIENT[] = {
    {"opened", OPENED_FIELDS, false, NULL},   {"resumed", RESUMED_FIELDS, false, NULL},
    {"painted", PAINTED_FIELDS, false, NULL}, {"dropped", DROPPED_FIELDS, false, NULL},
    {"credit", CREDIT_FIELDS, false, NULL},   {"updated", UPDATED_FIELDS, false, NULL},
    {"flushed", FLUSHED_FIELDS, false, NULL}, {"watching", WATCHING_FIELDS, false, NULL},
    {"seen", SEEN_FIELDS, false, NULL},       {"closed", CLOSED_FIELDS, false, NULL},
    {"notice", NOTICE_FIELDS, false, NULL},   {"ping", NONCE_FIELDS, false, NULL},
    {"pong", NONCE_FIELDS, false, NULL},      {"status", STATUS_FIELDS, false, NULL},
    {"error", ERROR_FIELDS, false, NULL},     {NULL, NULL, false, NULL}};

/* In the order of TO_CLIENT. */
enum kind {
    OPENED,
    RESUMED,
    PAINTED,
    DROPPED,
    CREDIT,
    UPDATED,
    FLUSHED,
    WATCHING,
    SEEN,
    CLOSED,
    NOTICE,
    PING,
    PONG,
    STATUS,
    ERROR
};

/* A header against its table. None of these goes deeper than the tables do. */

static bool check_map(const struct table *table, const msgpack_object *map, struct complaint *complaint);

static bool bad(struct complaint *complaint, const struct field *field, const char *rule)
{
    return complain(complaint, WP_REASON_INVALID_FIELD, "%s: must be %s", field->key, rule);
}

static bool check_number(const struct field *field, const msgpack_object *value, bool whole,
                         struct complaint *complaint)
{
    bool is_number = is_integer(value) ||
                     (!whole && (value->type == MSGPACK_OBJECT_FLOAT32 || value->type == MSGPACK_OBJECT_FLOAT64));
    double number = is_number ? number_of(value) : 0;

    if (!is_number)
        return bad(complaint, field, whole ? "an integer" : "a number");
    if (!isfinite(number) || number < field->least || number > field->most ||
        (field->flags & EXCLUSIVE && number <= field->least))
        return complain(complaint, WP_REASON_INVALID_FIELD, "%s: must be from %g to %g", field->key, field->least,
                        field->most);
    return true;
}

static bool check_text(const struct field *field, const msgpack_object *value, struct complaint *complaint)
{
    int64_t length;

    if (value->type != MSGPACK_OBJECT_STR)
        return bad(complaint, field, "text");
    length = code_points(value->via.str.ptr, value->via.str.size);
    if (length < (int64_t)field->least || length > (int64_t)field->most)
        return complain(complaint, WP_REASON_INVALID_FIELD, "%s: must have %g to %g characters", field->key,
                        field->least, field->most);
    return true;
}

static bool check_choice(const struct field *field, const msgpack_object *value, struct complaint *complaint)
{
    if (value->type != MSGPACK_OBJECT_STR || choice_of(value, field->names) < 0)
        return bad(complaint, field, "one of the names that the protocol has for it");
    return true;
}

/* A value of the Brief as `changes` may hold it: of any field. */
static bool check_change(const struct field *field, const msgpack_object *value, struct complaint *complaint)
{
    static const struct field WHOLE = INT("changes", 0, -MAX_INTEGER, MAX_INTEGER);
    static const struct field FINITE = NUM("changes", 0, -DBL_MAX, DBL_MAX);
    uint32_t number;

    switch (value->type) {
    case MSGPACK_OBJECT_NIL:
    case MSGPACK_OBJECT_BOOLEAN:
    case MSGPACK_OBJECT_STR:
        return true;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return check_number(&WHOLE, value, true, complaint);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return check_number(&FINITE, value, false, complaint);
    case MSGPACK_OBJECT_ARRAY:
        for (number = 0; number < value->via.array.size; number++)
            if (value->via.array.ptr[number].type != MSGPACK_OBJECT_STR)
                return bad(complaint, field, "fields and their values: a list has texts");
        return true;
    default:
        return bad(complaint, field, "fields and their values");
    }
}

static bool check_item(const struct field *field, const msgpack_object *value, struct complaint *complaint)
{
    switch (field->form) {
    case INTEGERS:
    case COUNTS:
        return check_number(field, value, true, complaint);
    case NUMBERS:
        return check_number(field, value, false, complaint);
    case TEXTS:
        return check_text(field, value, complaint);
    case CHOICES:
        return check_choice(field, value, complaint);
    case CHANGES:
        return check_change(field, value, complaint);
    default:
        if (value->type != MSGPACK_OBJECT_MAP)
            return bad(complaint, field, "a list of maps");
        return check_map(field->inside, value, complaint) || within(complaint, field->key);
    }
}

static bool check_list(const struct field *field, const msgpack_object *value, struct complaint *complaint)
{
    uint32_t number;

    if (value->type != MSGPACK_OBJECT_ARRAY)
        return bad(complaint, field, "a list");
    if (value->via.array.size < field->fewest || value->via.array.size > field->most_items)
        return complain(complaint, WP_REASON_INVALID_FIELD, "%s: must have %u to %u items", field->key, field->fewest,
                        field->most_items);
    for (number = 0; number < value->via.array.size; number++)
        if (!check_item(field, &value->via.array.ptr[number], complaint))
            return false;
    return true;
}

static bool check_entries(const struct field *field, const msgpack_object *value, struct complaint *complaint)
{
    static const struct field KEY = NAME("a key", 0);
    uint32_t number;

    if (value->type != MSGPACK_OBJECT_MAP)
        return bad(complaint, field, "a map");
    if (value->via.map.size > field->most_items)
        return complain(complaint, WP_REASON_INVALID_FIELD, "%s: at most %u keys", field->key, field->most_items);
    for (number = 0; number < value->via.map.size; number++)
        if (!check_text(&KEY, &value->via.map.ptr[number].key, complaint) ||
            !check_item(field, &value->via.map.ptr[number].val, complaint))
            return false;
    return true;
}

static bool check_value(const struct field *field, const msgpack_object *value, struct complaint *complaint)
{
    if (value->type == MSGPACK_OBJECT_NIL && field->flags & OR_NIL)
        return true;
    switch (field->form) {
    case INTEGER:
        return check_number(field, value, true, complaint);
    case QUARTER:
        if (!check_number(field, value, true, complaint))
            return false;
        return (int)number_of(value) % 90 == 0 || bad(complaint, field, "0, 90, 180 or 270");
    case NUMBER:
        return check_number(field, value, false, complaint);
    case BOOLEAN:
        return value->type == MSGPACK_OBJECT_BOOLEAN || bad(complaint, field, "true or false");
    case TEXT:
        return check_text(field, value, complaint);
    case CHOICE:
        return check_choice(field, value, complaint);
    case MAP:
        if (value->type != MSGPACK_OBJECT_MAP)
            return bad(complaint, field, "a map");
        return check_map(field->inside, value, complaint) || within(complaint, field->key);
    case NUMBERS:
    case COUNTS:
    case CHANGES:
        return check_entries(field, value, complaint);
    default:
        return check_list(field, value, complaint);
    }
}

static bool has_field(const struct table *table, const msgpack_object *key)
{
    const struct field *field;

    for (field = table->fields; field->key != NULL; field++)
        if (is_text(key, field->key))
            return true;
    return false;
}

/* The other side made the key up: it may be long, or have characters that a terminal obeys. */
static bool no_such_field(const msgpack_object_str *key, struct complaint *complaint)
{
    char shown[41];
    size_t at;

    for (at = 0; at < key->size && at < sizeof shown - 1; at++)
        shown[at] = key->ptr[at] > ' ' && key->ptr[at] <= '~' ? key->ptr[at] : '?';
    shown[at] = '\0';
    return complain(complaint, WP_REASON_INVALID_FIELD, "%s: there is no such field", shown);
}

static bool check_map(const struct table *table, const msgpack_object *map, struct complaint *complaint)
{
    const struct field *field;
    uint32_t number;

    for (field = table->fields; field->key != NULL; field++) {
        const msgpack_object *value = find(map, field->key);

        if (value == NULL && field->flags & REQUIRED)
            return complain(complaint, WP_REASON_INVALID_FIELD, "%s: is missing", field->key);
        if (value != NULL && !check_value(field, value, complaint))
            return false;
    }
    for (number = 0; table->closed && number < map->via.map.size; number++) {
        if (!has_field(table, &map->via.map.ptr[number].key))
            return no_such_field(&map->via.map.ptr[number].key.via.str, complaint);
    }
    return table->also == NULL || table->also(map, complaint);
}

/* What the tables cannot say */

static bool check_source(const msgpack_object *map, struct complaint *complaint)
{
    if (integer_at(map, "width", 0) * integer_at(map, "height", 0) > MAX_PICTURE_PIXELS)
        return complain(complaint, WP_REASON_INVALID_FIELD, "width, height: more than %d pixels", MAX_PICTURE_PIXELS);
    return true;
}

/* Whether two texts are the same up to their first colon, or their ends. */
static bool same_name(const msgpack_object *one, const msgpack_object *other)
{
    msgpack_object_str a = one->via.str, b = other->via.str;
    const char *a_end = memchr(a.ptr, ':', a.size), *b_end = memchr(b.ptr, ':', b.size);
    size_t a_size = a_end == NULL ? a.size : (size_t)(a_end - a.ptr);
    size_t b_size = b_end == NULL ? b.size : (size_t)(b_end - b.ptr);

    return a_size == b_size && memcmp(a.ptr, b.ptr, a_size) == 0;
}

/* names: the names must differ, whatever follows them after a colon. */
static bool check_once(const msgpack_object *map, const char *key, struct complaint *complaint)
{
    msgpack_object_array list = list_at(map, key);
    uint32_t one, other;

    for (one = 0; one < list.size; one++)
        for (other = one + 1; other < list.size; other++)
            if (same_name(&list.ptr[one], &list.ptr[other]))
                return complain(complaint, WP_REASON_INVALID_FIELD, "%s: a name stands there twice", key);
    return true;
}

/* Reads a number as JSON writes it, up to `end`; false if it is none. Not strtod, which goes by the locale. */
static bool json_number(const char *at, const char *end, double *number)
{
    double value = 0, scale = 1;
    bool negative = at < end && *at == '-', negative_exponent = false;
    int exponent = 0;

    at += negative;
    if (at >= end || *at < '0' || *at > '9' || (*at == '0' && at + 1 < end && at[1] >= '0' && at[1] <= '9'))
        return false;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        value = 10 * value + (*at - '0');
    if (at < end && *at == '.') {
        if (++at >= end || *at < '0' || *at > '9')
            return false;
        for (; at < end && *at >= '0' && *at <= '9'; at++)
            value += (*at - '0') * (scale /= 10);
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            negative_exponent = *at++ == '-';
        if (at >= end)
            return false;
        for (; at < end && *at >= '0' && *at <= '9'; at++)
            exponent = exponent < 1000 ? 10 * exponent + (*at - '0') : exponent;
    }
    *number = (negative ? -value : value) * pow(10, negative_exponent ? -exponent : exponent);
    return at == end;
}

/* NAME, NAME:WEIGHT, or, if `shares`, NAME:WEIGHT:START:END. */
static bool check_weighted(const msgpack_object *item, bool shares, const char *key, struct complaint *complaint)
{
    const char *at = item->via.str.ptr, *end = at + item->via.str.size;
    const char *colon = memchr(at, ':', (size_t)(end - at));
    double numbers[3] = {1, 0, 1};
    int count = 0;

    if (colon == at)
        return complain(complaint, WP_REASON_INVALID_FIELD, "%s: an item has no name", key);
    while (colon != NULL) {
        const char *next = memchr(colon + 1, ':', (size_t)(end - colon - 1));

        if (count == 3 || !json_number(colon + 1, next == NULL ? end : next, &numbers[count]))
            return complain(complaint, WP_REASON_INVALID_FIELD, "%s: what follows a name are numbers", key);
        colon = next;
        count++;
    }
    if (count > 1 && !(shares && count == 3))
        return complain(complaint, WP_REASON_INVALID_FIELD, "%s: an item has too many numbers, or too few", key);
    if (!(numbers[0] >= -MAX_WEIGHT && numbers[0] <= MAX_WEIGHT))
        return complain(complaint, WP_REASON_INVALID_FIELD, "%s: a weight is from -%g to %g", key, MAX_WEIGHT,
                        MAX_WEIGHT);
    if (!(numbers[1] >= 0 && numbers[1] < numbers[2] && numbers[2] <= 1))
        return complain(complaint, WP_REASON_INVALID_FIELD, "%s: 0 <= START < END <= 1", key);
    return true;
}

static bool check_all_weighted(const msgpack_object *map, const char *key, bool shares, struct complaint *complaint)
{
    msgpack_object_array list = list_at(map, key);
    uint32_t number;

    for (number = 0; number < list.size; number++)
        if (!check_weighted(&list.ptr[number], shares, key, complaint))
            return false;
    return check_once(map, key, complaint);
}

static bool check_brief(const msgpack_object *map, struct complaint *complaint)
{
    if (number_at(map, "keyframe_gap_min_s", 1.0 / 3) > number_at(map, "keyframe_gap_max_s", 10.0))
        return complain(complaint, WP_REASON_INVALID_FIELD, "keyframe_gap_min_s must not exceed keyframe_gap_max_s");
    return check_all_weighted(map, "loras", false, complaint) && check_all_weighted(map, "controls", true, complaint);
}

static bool check_open(const msgpack_object *map, struct complaint *complaint)
{
    return check_once(map, "maps", complaint);
}

static bool check_watch(const msgpack_object *map, struct complaint *complaint)
{
    return check_once(map, "pictures", complaint) && check_once(map, "maps", complaint);
}

static bool check_frame(const msgpack_object *map, struct complaint *complaint)
{
    msgpack_object_array list = list_at(map, "controls");
    uint32_t one, other;

    for (one = 0; one < list.size; one++)
        for (other = one + 1; other < list.size; other++)
            if (list.ptr[one].via.str.size == list.ptr[other].via.str.size &&
                memcmp(list.ptr[one].via.str.ptr, list.ptr[other].via.str.ptr, list.ptr[one].via.str.size) == 0)
                return complain(complaint, WP_REASON_INVALID_FIELD, "controls: a kind stands there twice");
    return true;
}

/* A header, parsed */

/* Which table of the direction a header is of; -1: none. */
static int kind_of(const msgpack_object *header, const struct table *tables)
{
    const msgpack_object *type = find(header, "type");
    int kind;

    for (kind = 0; type != NULL && tables[kind].name != NULL; kind++)
        if (is_text(type, tables[kind].name))
            return kind;
    return -1;
}

/* How many payloads belong to a message that was checked. */
static size_t payloads_of(const msgpack_object *header, const struct table *table)
{
    if (table->fields == FRAME_FIELDS)
        return 1 + list_at(header, "controls").size;
    return table->fields == PAINTED_FIELDS || table->fields == SEEN_FIELDS ? list_at(header, "parts").size : 0;
}

/* Bytes to a header that keeps to its table; in the order of checks that the protocol sets. `unpacked` refers to the
 * bytes, and is to be destroyed in any case. The kind is the place in `tables`; -1: a complaint.
 *
 * payload_bytes: of each payload, the first MAX_PAYLOADS + 1 of them. */
static int parse(const struct table *tables, const void *data, size_t size, const size_t *payload_bytes,
                 size_t payloads, msgpack_unpacked *unpacked, struct complaint *complaint)
{
    const msgpack_object *header = &unpacked->data, *version;
    size_t offset = 0, number;
    int kind;

    complaint->code = WP_REASON_NONE;
    msgpack_unpacked_init(unpacked);
    if (size > MAX_HEADER_BYTES)
        complain(complaint, WP_REASON_TOO_LARGE, "the header has %zu bytes, of at most %d", size, MAX_HEADER_BYTES);
    else if (check_packed(data, size, complaint) &&
             msgpack_unpack_next(unpacked, data, size, &offset) != MSGPACK_UNPACK_SUCCESS)
        complain(complaint, WP_REASON_BAD_MESSAGE, "the header cannot be unpacked");
    if (complaint->code != WP_REASON_NONE)
        return -1;
    version = find(header, "v");
    if (version == NULL || version->type != MSGPACK_OBJECT_POSITIVE_INTEGER || version->via.u64 != VERSION)
        complain(complaint, WP_REASON_UNSUPPORTED_VERSION, "v: must be %d, the version spoken here", VERSION);
    else if (payloads > MAX_PAYLOADS)
        complain(complaint, WP_REASON_TOO_LARGE, "a message has at most %d payloads", MAX_PAYLOADS);
    for (number = 0; complaint->code == WP_REASON_NONE && number < payloads; number++)
        if (payload_bytes[number] > MAX_PAYLOAD_BYTES)
            complain(complaint, WP_REASON_TOO_LARGE, "a payload has %zu bytes, of at most %d", payload_bytes[number],
                     MAX_PAYLOAD_BYTES);
    if (complaint->code != WP_REASON_NONE)
        return -1;
    kind = kind_of(header, tables);
    if (kind < 0)
        complain(complaint, WP_REASON_UNKNOWN_TYPE, "type: is missing or not known here");
    else if (check_map(&tables[kind], header, complaint) && payloads != payloads_of(header, &tables[kind]))
        complain(complaint, WP_REASON_INVALID_FIELD, "a `%s` like this has %zu payloads (got %zu)", tables[kind].name,
                 payloads_of(header, &tables[kind]), payloads);
    return complaint->code == WP_REASON_NONE ? kind : -1;
}

/* Headers to be sent */

/* Bytes that grow. A failure to grow is remembered, so that it is asked about once, at the end. */
struct bytes {
    char *data;
    size_t size, room;
    bool failed;
};

static int append(void *to, const char *data, size_t size)
{
    struct bytes *bytes = to;

    if (bytes->size + size > bytes->room) {
        size_t room = 2 * (bytes->size + size);
        char *grown = realloc(bytes->data, room);

        if (grown == NULL) {
            bytes->failed = true;
            return -1;
        }
        bytes->data = grown;
        bytes->room = room;
    }
    if (size > 0)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    return 0;
}

/* A map that is written entry by entry; how many there are is written before them in the end. */
struct map {
    struct bytes body;
    msgpack_packer packer;
    size_t count;
};

static void begin(struct map *map)
{
    memset(map, 0, sizeof *map);
    msgpack_packer_init(&map->packer, &map->body, append);
}

static void put_text(struct map *map, const char *text)
{
    size_t size = strlen(text);

    msgpack_pack_str(&map->packer, size);
    msgpack_pack_str_body(&map->packer, text, size);
}

static void key(struct map *map, const char *name)
{
    put_text(map, name);
    map->count++;
}

static void text(struct map *map, const char *name, const char *value)
{
    key(map, name);
    put_text(map, value);
}

static void integer(struct map *map, const char *name, int64_t value)
{
    key(map, name);
    msgpack_pack_int64(&map->packer, value);
}

static void number(struct map *map, const char *name, double value)
{
    key(map, name);
    msgpack_pack_double(&map->packer, value);
}

static void put_boolean(struct map *map, bool value)
{
    if (value)
        msgpack_pack_true(&map->packer);
    else
        msgpack_pack_false(&map->packer);
}

static void boolean(struct map *map, const char *name, bool value)
{
    key(map, name);
    put_boolean(map, value);
}

static void integers(struct map *map, const char *name, const int64_t *values, size_t count)
{
    size_t at;

    key(map, name);
    msgpack_pack_array(&map->packer, count);
    for (at = 0; at < count; at++)
        msgpack_pack_int64(&map->packer, values[at]);
}

/* What was written, with its head. The map is used up. */
static struct bytes end(struct map *map)
{
    struct bytes whole = {NULL, 0, 0, false};
    msgpack_packer packer;

    msgpack_packer_init(&packer, &whole, append);
    msgpack_pack_map(&packer, map->count);
    append(&whole, map->body.data, map->body.size);
    whole.failed |= map->body.failed;
    free(map->body.data);
    return whole;
}

/* A map inside a map; left out if it is empty and may be. */
static void inside(struct map *map, const char *name, struct map *inner, bool may_be_left_out)
{
    bool empty = inner->count == 0;
    struct bytes whole = end(inner);

    if (!empty || !may_be_left_out) {
        key(map, name);
        append(&map->body, whole.data, whole.size);
    }
    map->body.failed |= whole.failed;
    free(whole.data);
}

static void begin_message(struct map *map, const char *type)
{
    begin(map);
    integer(map, "v", VERSION);
    text(map, "type", type);
}

static void begin_in_session(struct map *map, const char *type, int64_t session)
{
    begin_message(map, type);
    integer(map, "session", session);
}

static void field(struct map *map, const wp_field *field)
{
    size_t at;

    key(map, field->name);
    switch (field->kind) {
    case WP_TEXT:
        put_text(map, field->text);
        break;
    case WP_INTEGER:
        msgpack_pack_int64(&map->packer, field->integer);
        break;
    case WP_NUMBER:
        msgpack_pack_double(&map->packer, field->number);
        break;
    case WP_BOOLEAN:
        put_boolean(map, field->boolean);
        break;
    case WP_LIST:
        msgpack_pack_array(&map->packer, field->list_count);
        for (at = 0; at < field->list_count; at++)
            put_text(map, field->list[at]);
        break;
    case WP_NIL:
        msgpack_pack_nil(&map->packer);
        break;
    }
}

/* Whether fields can be packed at all: what they may be is said by the tables, and by the daemon. */
static bool can_be_packed(const wp_field *fields, size_t count, struct complaint *complaint)
{
    size_t at, item;

    if (fields == NULL && count > 0)
        return complain(complaint, WP_REASON_INVALID_FIELD, "%zu fields, but no pointer to them", count);
    if (count > MAX_CHANGES)
        return complain(complaint, WP_REASON_INVALID_FIELD, "%zu fields, of at most %d", count, MAX_CHANGES);
    for (at = 0; at < count; at++) {
        const wp_field *each = &fields[at];

        if (each->name == NULL)
            return complain(complaint, WP_REASON_INVALID_FIELD, "field %zu has no name", at);
        if ((unsigned)each->kind > WP_LIST || (each->kind == WP_TEXT && each->text == NULL) ||
            (each->kind == WP_LIST && each->list == NULL && each->list_count > 0) ||
            (each->kind == WP_LIST && each->list_count > MAX_HEADER_BYTES))
            return complain(complaint, WP_REASON_INVALID_FIELD, "%.60s: has no value", each->name);
        for (item = 0; each->kind == WP_LIST && item < each->list_count; item++)
            if (each->list[item] == NULL)
                return complain(complaint, WP_REASON_INVALID_FIELD, "%.60s: item %zu is NULL", each->name, item);
    }
    return true;
}

void wp_options_init(wp_options *options, size_t size)
{
    wp_options defaults;

    memset(&defaults, 0, sizeof defaults);
    defaults.size = size < sizeof defaults ? size : sizeof defaults;
    defaults.time_base[0] = 1;
    defaults.time_base[1] = 1000;
    defaults.sample_aspect[0] = defaults.sample_aspect[1] = 1;
    defaults.quality = 90;
    defaults.crf = 20;
    defaults.gop_frames = 60;
    defaults.max_delay_ms = 100;
    defaults.linger_s = -1;
    memset(options, 0, size);
    memcpy(options, &defaults, defaults.size);
    options->size = size;
}

static bool are(const int64_t pair[2], int64_t first, int64_t second)
{
    return pair[0] == first && pair[1] == second;
}

static void pack_source(struct map *map, const wp_options *options)
{
    struct map colour;

    integer(map, "width", options->width);
    integer(map, "height", options->height);
    if (options->encoding != WP_RAW)
        text(map, "encoding", ENCODINGS[options->encoding]);
    if (options->pixels != WP_BGR24)
        text(map, "pixels", PIXELS[options->pixels]);
    if (options->stride_count > 0)
        integers(map, "strides", options->strides, options->stride_count);
    begin(&colour);
    if (options->matrix != WP_MATRIX_BY_SIZE)
        text(&colour, "matrix", MATRICES[options->matrix - 1]);
    if (options->full_range)
        boolean(&colour, "full_range", true);
    inside(map, "colour", &colour, true);
    if (!are(options->time_base, 1, 1000))
        integers(map, "time_base", options->time_base, 2);
    if (!are(options->sample_aspect, 1, 1))
        integers(map, "sample_aspect", options->sample_aspect, 2);
    if (options->rotation != 0)
        integer(map, "rotation", options->rotation);
    if (options->rate != 0)
        number(map, "rate", options->rate);
}

static void pack_result(struct map *map, const wp_options *options)
{
    if (options->result_encoding != WP_RAW)
        text(map, "encoding", ENCODINGS[options->result_encoding]);
    if (options->result_pixels != WP_BGR24)
        text(map, "pixels", PIXELS[options->result_pixels]);
    if (options->quality != 90)
        integer(map, "quality", options->quality);
    if (options->crf != 20)
        integer(map, "crf", options->crf);
    if (options->gop_frames != 60)
        integer(map, "gop_frames", options->gop_frames);
}

static void pack_maps(struct map *map, unsigned maps)
{
    size_t count = 0, at;

    for (at = 0; MAPS[at] != NULL; at++)
        count += maps >> at & 1;
    if (count == 0)
        return;
    key(map, "maps");
    msgpack_pack_array(&map->packer, count);
    for (at = 0; MAPS[at] != NULL; at++)
        if (maps >> at & 1)
            put_text(map, MAPS[at]);
}

/* Options must be of the enumerations: wp_open sees to that. */
static struct bytes pack_open(int64_t session, const wp_options *options)
{
    struct map map, inner;
    size_t at;

    begin_in_session(&map, "open", session);
    begin(&inner);
    pack_source(&inner, options);
    inside(&map, "source", &inner, false);
    begin(&inner);
    pack_result(&inner, options);
    inside(&map, "result", &inner, true);
    begin(&inner);
    for (at = 0; at < options->brief_count; at++)
        field(&inner, &options->brief[at]);
    inside(&map, "brief", &inner, true);
    if (options->painter != NULL)
        text(&map, "painter", options->painter);
    if (options->flow != NULL)
        text(&map, "flow", options->flow);
    if (options->pacing != WP_EVERY)
        text(&map, "pacing", PACINGS[options->pacing]);
    if (options->max_delay_ms != 100)
        number(&map, "max_delay_ms", options->max_delay_ms);
    if (!(options->linger_s < 0))
        number(&map, "linger_s", options->linger_s);
    if (options->max_pixels != 0)
        integer(&map, "max_pixels", options->max_pixels);
    pack_maps(&map, options->maps);
    if (options->client != NULL && options->client[0] != '\0')
        text(&map, "client", options->client);
    return end(&map);
}

static struct bytes pack_resume(int64_t session, const char *token, int64_t seq)
{
    struct map map;

    begin_in_session(&map, "resume", session);
    text(&map, "token", token);
    if (seq != 0)
        integer(&map, "seq", seq);
    return end(&map);
}

static struct bytes pack_ack(int64_t session, int64_t seq)
{
    struct map map;

    begin_in_session(&map, "ack", session);
    integer(&map, "seq", seq);
    return end(&map);
}

static struct bytes pack_frame(int64_t session, int64_t index, int64_t pts, const wp_control *controls, size_t count,
                               bool keyframe)
{
    struct map map;
    size_t at;

    begin_in_session(&map, "frame", session);
    integer(&map, "index", index);
    integer(&map, "pts", pts);
    if (count > 0) {
        key(&map, "controls");
        msgpack_pack_array(&map.packer, count);
        for (at = 0; at < count; at++)
            put_text(&map, controls[at].kind);
    }
    if (keyframe) {
        key(&map, "keyframe");
        msgpack_pack_true(&map.packer);
    }
    return end(&map);
}

static struct bytes pack_update(int64_t session, int64_t request, const wp_field *changes, size_t count)
{
    struct map map, inner;
    size_t at;

    begin_in_session(&map, "update", session);
    integer(&map, "request", request);
    begin(&inner);
    for (at = 0; at < count; at++)
        field(&inner, &changes[at]);
    inside(&map, "changes", &inner, false);
    return end(&map);
}

/* `rekey` or `flush` */
static struct bytes pack_request(const char *type, int64_t session, int64_t request)
{
    struct map map;

    begin_in_session(&map, type, session);
    integer(&map, "request", request);
    return end(&map);
}

static struct bytes pack_hold(int64_t session, int64_t request, bool on)
{
    struct map map;

    begin_in_session(&map, "hold", session);
    integer(&map, "request", request);
    boolean(&map, "on", on);
    return end(&map);
}

static struct bytes pack_request_keyframe(int64_t session)
{
    struct map map;

    begin_in_session(&map, "request_keyframe", session);
    return end(&map);
}

static struct bytes pack_close(int64_t session, bool discard)
{
    struct map map;

    begin_in_session(&map, "close", session);
    if (discard)
        boolean(&map, "discard", true);
    return end(&map);
}

/* `ping` or `pong` */
static struct bytes pack_nonce(const char *type, int64_t nonce)
{
    struct map map;

    begin_message(&map, type);
    if (nonce != 0)
        integer(&map, "nonce", nonce);
    return end(&map);
}

/* Whether a header that was packed is one that the protocol allows. It is freed if not. */
static bool check_outgoing(struct bytes *header, size_t payloads, struct complaint *complaint)
{
    size_t payload_bytes[MAX_PAYLOADS] = {0};
    msgpack_unpacked unpacked;
    bool good;

    if (header->failed) {
        complain(complaint, WP_REASON_NONE, "there is no memory for a header");
        free(header->data);
        return false;
    }
    good = parse(TO_SERVER, header->data, header->size, payload_bytes, payloads, &unpacked, complaint) >= 0;
    msgpack_unpacked_destroy(&unpacked);
    if (!good)
        free(header->data);
    return good;
}

/* Bytes of each plane of a raw picture: rows of `stride` bytes, or tight ones without strides; 0: sides or strides that
 * cannot be. */
static uint64_t raw_bytes(wp_pixels pixels, int32_t width, int32_t height, const int64_t *strides, size_t stride_count)
{
    static const int64_t PIXEL_BYTES[] = {3, 3, 4, 1, 1, 1};
    int64_t half_width = ((int64_t)width + 1) / 2, half_height = ((int64_t)height + 1) / 2;
    int64_t row[3], rows[3];
    size_t planes = pixels == WP_YUV420P ? 3 : pixels == WP_NV12 ? 2 : 1, at;
    uint64_t bytes = 0;

    if ((unsigned)pixels > WP_NV12 || width < 1 || height < 1 || width > MAX_SIDE || height > MAX_SIDE ||
        (stride_count != 0 && stride_count != planes))
        return 0;
    row[0] = PIXEL_BYTES[pixels] * width;
    rows[0] = height;
    row[1] = row[2] = pixels == WP_NV12 ? 2 * half_width : half_width;
    rows[1] = rows[2] = half_height;
    for (at = 0; at < planes; at++) {
        int64_t stride = stride_count == 0 ? row[at] : strides[at];

        if (stride < row[at] || stride > MAX_PAYLOAD_BYTES)
            return 0;
        bytes += (uint64_t)(stride * rows[at]);
    }
    return bytes;
}

size_t wp_raw_bytes(wp_pixels pixels, int32_t width, int32_t height)
{
    return (size_t)raw_bytes(pixels, width, height, NULL, 0);
}

/* What is kept here */

/* Bytes that the ledger and ZeroMQ's thread hold at the same time; the last of them frees them. */
struct blob {
    atomic_size_t holders;
    size_t size;
    unsigned char data[];
};

/* The parts of a message to be sent: the header first. */
struct parts {
    struct blob *blobs[1 + MAX_PAYLOADS];
    size_t count;
};

/* A message that waits for ZeroMQ to take it. */
struct outgoing {
    struct outgoing *next;
    struct parts parts;
};

/* A frame or request that was sent, or is to be sent once there is a connection, and has no answer yet. */
struct owed {
    struct owed *before, *after;
    bool is_frame;
    int64_t number; /* index or request */
    int64_t pts;
    struct parts parts;
    bool lost; /* no answer will come */
    bool done; /* of a request: there is one. It is remembered for a while: a daemon that was killed, and goes on with
                  what it had written down before, has forgotten it */
};

/* A message that came, or the word that a frame was lost, which has no parts. */
struct message {
    struct message *next;
    enum kind kind;
    zmq_msg_t parts[1 + MAX_PAYLOADS];
    size_t part_count;
    msgpack_unpacked unpacked; /* refers to the first part; its zone holds what is copied, too */
    wp_result result;
    wp_map maps[MAX_MAPS];
};

/* What became of a request. */
enum state { UNKNOWN = 0, WAITING, TAKEN, SHOWN, DONE, DENIED };

struct answer {
    int64_t request;
    enum state state;
    int64_t shown_at;
    wp_reason reason;
    char text[240];
};

struct wp_session {
    wp_client *client;
    wp_session *next;
    int64_t session;
    bool live;
    uint64_t frame_bytes, result_bytes; /* of raw pictures; 0: they are coded */
    size_t control_bytes;
    struct blob *opening; /* the header of `open` */
    struct blob *closing; /* that of `close`, once it is asked for */
    struct message *opened_message;
    wp_opened opened;
    bool is_open, is_closed, is_refused, has_ended, abandoned;
    wp_totals totals;
    wp_reason refusal;
    char why[480]; /* it is over, in a sentence */
    char notice[480];
    int64_t window, most_results; /* the credit; and the latest that was not 0 */
    int64_t next_index, frames;   /* frames: sent and not answered */
    struct owed *first, *last;
    struct message *results, *last_result, *current;
    int64_t result_count;
    int64_t requests;
    struct answer answers[REMEMBERED];
    bool away, resume_due;
    int64_t away_since_ms;
    int64_t seq, acked; /* of the last answer received, and acknowledged */
};

struct wp_client {
    char *address;
    void *context, *socket, *monitor;
    unsigned sockets; /* made so far */
    bool up, was_up;
    int reconnect_ms;
    uint64_t received;                            /* messages so far */
    int64_t now_ms, since_ms, heard_ms, asked_ms; /* since: the connection came or went; asked: our last ping */
    int64_t pings, pongs;
    int64_t next_session;
    wp_session *sessions;
    struct outgoing *outbox, *last_outgoing;
    wp_code broken; /* nothing more will come: WP_OK if not so */
    char why[480];
    char error[640];
    wp_reason reason;
};

static int64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t deadline_ms(int timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : clock_ms() + timeout_ms;
}

/* Returns the code. */
__attribute__((format(printf, 3, 4))) static wp_code fail(wp_client *client, wp_code code, const char *format, ...)
{
    va_list arguments;

    client->reason = WP_REASON_NONE;
    va_start(arguments, format);
    vsnprintf(client->error, sizeof client->error, format, arguments);
    va_end(arguments);
    return code;
}

static wp_code refuse(wp_client *client, wp_reason reason, const char *why)
{
    fail(client, WP_REFUSED, "%s: %s", wp_reason_name(reason), why);
    client->reason = reason;
    return WP_REFUSED;
}

/* Remembers that nothing more will come. */
__attribute__((format(printf, 3, 4))) static void break_off(wp_client *client, wp_code code, const char *format, ...)
{
    va_list arguments;

    if (client->broken != WP_OK)
        return;
    client->broken = code;
    va_start(arguments, format);
    vsnprintf(client->why, sizeof client->why, format, arguments);
    va_end(arguments);
}

static void no_memory(wp_client *client)
{
    break_off(client, WP_MEMORY, "there is no memory for what is sent and received");
}

/* Blobs */

static struct blob *new_blob(const void *data, size_t size)
{
    struct blob *blob = malloc(sizeof *blob + size);

    if (blob == NULL)
        return NULL;
    atomic_init(&blob->holders, 1);
    blob->size = size;
    if (size > 0)
        memcpy(blob->data, data, size);
    return blob;
}

/* The header, whose bytes are used up; NULL: there is no memory. */
static struct blob *header_blob(struct bytes header)
{
    struct blob *blob = header.failed ? NULL : new_blob(header.data, header.size);

    free(header.data);
    return blob;
}

static void let_go(struct blob *blob)
{
    if (blob != NULL && atomic_fetch_sub(&blob->holders, 1) == 1)
        free(blob);
}

/* For ZeroMQ, in its thread. */
static void let_go_of_data(void *data, void *blob)
{
    (void)data;
    let_go(blob);
}

static void let_go_of_parts(struct parts *parts)
{
    while (parts->count > 0)
        let_go(parts->blobs[--parts->count]);
}

/* Messages that came */

static void free_message(struct message *message)
{
    if (message == NULL)
        return;
    msgpack_unpacked_destroy(&message->unpacked);
    while (message->part_count > 0)
        zmq_msg_close(&message->parts[--message->part_count]);
    free(message);
}

/* A text of a header, with a zero byte at its end, as long as the message; NULL: it is left out, or there is no memory.
 */
static const char *copied(struct message *message, const msgpack_object *object)
{
    char *copy;

    if (object == NULL)
        return NULL;
    copy = msgpack_zone_malloc(message->unpacked.zone, (size_t)object->via.str.size + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, object->via.str.ptr, object->via.str.size);
    copy[object->via.str.size] = '\0';
    return copy;
}

static const char *const *copied_list(struct message *message, const char *key)
{
    msgpack_object_array list = list_at(&message->unpacked.data, key);
    const char **copies;
    uint32_t at;

    if (list.size == 0)
        return NULL;
    copies = msgpack_zone_malloc(message->unpacked.zone, list.size * sizeof *copies);
    for (at = 0; copies != NULL && at < list.size; at++)
        if ((copies[at] = copied(message, &list.ptr[at])) == NULL)
            return NULL;
    return copies;
}

/* A text of a header cut to a buffer, between code points. */
static void cut(char *to, size_t room, const msgpack_object *object)
{
    size_t size = object->via.str.size;

    if (size >= room)
        for (size = room - 1; size > 0 && (object->via.str.ptr[size] & 0xc0) == 0x80; size--)
            ;
    memcpy(to, object->via.str.ptr, size);
    to[size] = '\0';
}

/* What goes out */

static void drop_outbox(wp_client *client)
{
    while (client->outbox != NULL) {
        struct outgoing *first = client->outbox;

        client->outbox = first->next;
        let_go_of_parts(&first->parts);
        free(first);
    }
    client->last_outgoing = NULL;
}

/* Without a connection nothing is kept here: `connected` says again what matters. */
static void send_parts(wp_client *client, const struct parts *parts)
{
    struct outgoing *outgoing;
    size_t at;

    if (!client->up)
        return;
    outgoing = calloc(1, sizeof *outgoing);
    if (outgoing == NULL) {
        no_memory(client);
        return;
    }
    outgoing->parts = *parts;
    for (at = 0; at < parts->count; at++)
        atomic_fetch_add(&parts->blobs[at]->holders, 1);
    if (client->last_outgoing == NULL)
        client->outbox = outgoing;
    else
        client->last_outgoing->next = outgoing;
    client->last_outgoing = outgoing;
}

static void send_blob(wp_client *client, struct blob *header)
{
    struct parts parts = {{header}, 1};

    send_parts(client, &parts);
}

/* Sends a header, whose bytes are used up. */
static void send_header(wp_client *client, struct bytes header)
{
    struct blob *blob = header_blob(header);

    if (blob == NULL)
        no_memory(client);
    else
        send_blob(client, blob);
    let_go(blob);
}

/* False: ZeroMQ takes no more now. What it took of a message that it did not take whole it forgets by itself. */
static bool send_one(wp_client *client, const struct parts *parts)
{
    size_t at;

    for (at = 0; at < parts->count; at++) {
        struct blob *blob = parts->blobs[at];
        zmq_msg_t part;

        if (zmq_msg_init_data(&part, blob->data, blob->size, let_go_of_data, blob) != 0) {
            no_memory(client);
            return false;
        }
        atomic_fetch_add(&blob->holders, 1);
        if (zmq_msg_send(&part, client->socket, ZMQ_DONTWAIT | (at + 1 < parts->count ? ZMQ_SNDMORE : 0)) < 0) {
            if (errno != EAGAIN && errno != EINTR)
                break_off(client, WP_SYSTEM, "nothing can be sent: %s", zmq_strerror(errno));
            zmq_msg_close(&part);
            return false;
        }
    }
    return true;
}

static void flush(wp_client *client)
{
    while (client->outbox != NULL && send_one(client, &client->outbox->parts)) {
        struct outgoing *first = client->outbox;

        client->outbox = first->next;
        if (client->outbox == NULL)
            client->last_outgoing = NULL;
        let_go_of_parts(&first->parts);
        free(first);
    }
}

/* The ledger: what was sent, in order, each until it is answered. The credit bounds it. */

static void add_owed(wp_session *session, struct owed *owed)
{
    owed->before = session->last;
    owed->after = NULL;
    if (session->last == NULL)
        session->first = owed;
    else
        session->last->after = owed;
    session->last = owed;
    session->frames += owed->is_frame;
}

static struct owed *find_owed(const wp_session *session, bool is_frame, int64_t number)
{
    struct owed *owed;

    for (owed = session->first; owed != NULL; owed = owed->after)
        if (owed->is_frame == is_frame && owed->number == number)
            return owed;
    return NULL;
}

static void remove_owed(wp_session *session, struct owed *owed)
{
    if (owed->before == NULL)
        session->first = owed->after;
    else
        owed->before->after = owed->after;
    if (owed->after == NULL)
        session->last = owed->before;
    else
        owed->after->before = owed->before;
    session->frames -= owed->is_frame;
    let_go_of_parts(&owed->parts);
    free(owed);
}

/* A request is answered, and nothing will be left of it: it was refused, or is over. */
static void forget_request(wp_session *session, int64_t request)
{
    struct owed *owed = find_owed(session, false, request);

    if (owed != NULL)
        remove_owed(session, owed);
}

/* A request is answered, and changes the session. */
static void request_done(wp_session *session, int64_t request)
{
    struct owed *owed = find_owed(session, false, request), *oldest = NULL;
    size_t done = 0;

    if (owed == NULL)
        return;
    owed->done = true;
    for (owed = session->last; owed != NULL; owed = owed->before)
        if (owed->done) {
            oldest = owed;
            done++;
        }
    if (done > MAX_REQUESTS)
        remove_owed(session, oldest);
}

static size_t requests_waiting(const wp_session *session)
{
    const struct owed *owed;
    size_t waiting = 0;

    for (owed = session->first; owed != NULL; owed = owed->after)
        waiting += !owed->is_frame && !owed->done;
    return waiting;
}

/* How a session stands */

static bool is_over(const wp_session *session)
{
    return session->is_closed || session->is_refused || session->has_ended;
}

static bool is_online(const wp_session *session)
{
    return session->is_open && !session->away && !is_over(session);
}

static wp_code check_session(wp_session *session)
{
    if (session->is_refused)
        return refuse(session->client, session->refusal, session->why);
    if (is_over(session))
        return fail(session->client, WP_GONE, "%s", session->why);
    return WP_OK;
}

__attribute__((format(printf, 2, 3))) static void give_up(wp_session *session, const char *format, ...)
{
    va_list arguments;

    if (is_over(session))
        return;
    session->has_ended = true;
    va_start(arguments, format);
    vsnprintf(session->why, sizeof session->why, format, arguments);
    va_end(arguments);
}

static struct answer *answer_to(wp_session *session, int64_t request)
{
    struct answer *answer = &session->answers[request % REMEMBERED];

    return answer->request == request && answer->state != UNKNOWN ? answer : NULL;
}

/* Results */

static void add_result(wp_session *session, struct message *message)
{
    if (session->abandoned) {
        free_message(message);
        return;
    }
    message->next = NULL;
    if (session->last_result == NULL)
        session->results = message;
    else
        session->last_result->next = message;
    session->last_result = message;
    session->result_count++;
}

/* Reports frames that were lost: in `live` at once, in `every` when all before them are answered. */
static void tell_lost(wp_session *session)
{
    struct owed *owed = session->first, *after;

    for (; owed != NULL; owed = after) {
        struct message *message;

        after = owed->after;
        if (!owed->is_frame || !owed->lost) {
            if (owed->is_frame && !session->live)
                return;
            continue;
        }
        message = calloc(1, sizeof *message);
        if (message == NULL) {
            no_memory(session->client);
            return;
        }
        message->result.outcome = WP_DROPPED;
        message->result.index = owed->number;
        message->result.pts = owed->pts;
        message->result.reason = WP_REASON_LOST;
        message->result.stage = "connection";
        message->result.message = "the frame was lost with the connection";
        add_result(session, message);
        remove_owed(session, owed);
    }
}

/* A map as its part describes it; false: payload and description do not fit. */
static bool read_map(wp_map *map, const msgpack_object *part, zmq_msg_t *payload)
{
    msgpack_object_array shape = list_at(part, "shape");
    int name = choice_at(part, "name", PARTS, 0), dtype = choice_at(part, "dtype", DTYPES, -1);
    uint64_t samples = 1;
    uint32_t at;

    map->kind = 1u << (name - 1);
    map->channels = map->kind == WP_FLOW ? 2 : 1;
    map->sample_bytes = map->kind == WP_FLOW || map->kind == WP_CONFIDENCE ? 4 : 1;
    if (name == 0 || dtype != (map->sample_bytes == 4) || shape.size != (map->kind == WP_FLOW ? 3u : 2u))
        return false;
    for (at = 0; at < shape.size; at++) {
        if (shape.ptr[at].via.u64 > MAX_SIDE)
            return false;
        samples *= shape.ptr[at].via.u64;
    }
    if (shape.size == 3 && shape.ptr[2].via.u64 != 2)
        return false;
    map->height = (int32_t)shape.ptr[0].via.u64;
    map->width = (int32_t)shape.ptr[1].via.u64;
    map->data = zmq_msg_data(payload);
    map->data_bytes = zmq_msg_size(payload);
    return map->data_bytes == samples * (uint64_t)map->sample_bytes;
}

/* Fills the result of a `painted`; false: its payloads are not what it says. */
static bool read_painted(const wp_session *session, struct message *message)
{
    const msgpack_object *header = &message->unpacked.data;
    msgpack_object_array parts = list_at(header, "parts");
    wp_result *result = &message->result;
    uint32_t at;

    result->outcome = WP_PAINTED;
    result->image = zmq_msg_data(&message->parts[1]);
    result->image_bytes = zmq_msg_size(&message->parts[1]);
    result->coded_keyframe = boolean_at(header, "coded_keyframe", true);
    result->epoch = integer_at(header, "epoch", 0);
    result->provenance = (wp_provenance)choice_at(header, "provenance", PROVENANCES, 0);
    result->keyframe = boolean_at(header, "keyframe", false);
    result->holes = number_at(header, "holes", 0);
    result->confidence = number_at(header, "confidence", 0);
    result->painted_pixels = integer_at(header, "painted_pixels", 0);
    result->delay_ms = number_at(header, "delay_ms", 0);
    result->tags = copied_list(message, "tags");
    result->tag_count = result->tags == NULL ? 0 : list_at(header, "tags").size;
    if (choice_at(&parts.ptr[0], "name", PARTS, -1) != 0 ||
        (session->result_bytes != 0 && result->image_bytes != session->result_bytes))
        return false;
    for (at = 1; at < parts.size; at++)
        if (!read_map(&message->maps[at - 1], &parts.ptr[at], &message->parts[1 + at]))
            return false;
    result->maps = message->maps;
    result->map_count = parts.size - 1;
    return true;
}

/* For want of memory a text is empty, and not NULL, which callers do not expect. */
static const char *or_nothing(const char *text)
{
    return text == NULL ? "" : text;
}

/* An answer to a frame: `painted`, `dropped` or `error`. Takes the message. One that comes again is passed over. */
static void frame_answered(wp_session *session, struct message *message)
{
    const msgpack_object *header = &message->unpacked.data;
    struct owed *owed = find_owed(session, true, integer_at(header, "index", -1));
    wp_result *result = &message->result;

    if (owed == NULL) {
        free_message(message);
        return;
    }
    result->index = owed->number;
    result->pts = owed->pts;
    if (message->kind == DROPPED) {
        result->outcome = WP_DROPPED;
        result->stage = or_nothing(copied(message, given(header, "stage")));
        result->reason = (wp_reason)choice_at(header, "reason", REASONS, 0);
        result->message = "the frame was dropped";
    } else if (message->kind == ERROR) {
        result->outcome = WP_FAILED;
        result->stage = "failed";
        result->reason = (wp_reason)choice_at(header, "code", REASONS, 0);
        result->message = or_nothing(copied(message, given(header, "message")));
    } else if (!read_painted(session, message)) {
        break_off(session->client, WP_GONE,
                  "what answers at %s is no daemon of this version: the payloads of frame %lld "
                  "are not what it says",
                  session->client->address, (long long)owed->number);
        free_message(message);
        return;
    }
    remove_owed(session, owed);
    add_result(session, message);
    tell_lost(session);
}

/* What comes, for a session */

static void set_window(wp_session *session, int64_t credit)
{
    session->window = credit;
    if (credit > 0)
        session->most_results = credit;
}

static void take_opened(wp_session *session, struct message *message)
{
    const msgpack_object *header = &message->unpacked.data;
    wp_opened *opened = &session->opened;

    if (session->is_open) {
        free_message(message);
        return;
    }
    session->opened_message = message;
    opened->token = copied(message, given(header, "token"));
    opened->painter = copied(message, given(header, "painter"));
    opened->flow = copied(message, given(header, "flow"));
    opened->server = copied(message, given(header, "server"));
    opened->looks = copied_list(message, "looks");
    opened->look_count = opened->looks == NULL ? 0 : list_at(header, "looks").size;
    opened->width = (int32_t)integer_at(header, "width", 0);
    opened->height = (int32_t)integer_at(header, "height", 0);
    opened->linger_s = number_at(header, "linger_s", 0);
    set_window(session, integer_at(header, "credit", 0));
    session->is_open = true;
    if (opened->token == NULL || opened->painter == NULL || opened->flow == NULL || opened->server == NULL)
        no_memory(session->client);
}

static bool is_pending(const msgpack_object_array *pending, int64_t index)
{
    uint32_t at;

    for (at = 0; at < pending->size; at++)
        if (pending->ptr[at].via.u64 == (uint64_t)index)
            return true;
    return false;
}

/* Sends again what did not arrive, in order; what is neither that nor still to come is lost. */
static void take_resumed(wp_session *session, const msgpack_object *header)
{
    int64_t last_index = integer_at(header, "last_index", -1), last_request = integer_at(header, "last_request", -1);
    msgpack_object_array pending = list_at(header, "pending");
    struct owed *owed;

    if (!session->away)
        return; /* said twice: nothing may be sent twice */
    session->away = false;
    set_window(session, integer_at(header, "credit", 0));
    for (owed = session->first; owed != NULL; owed = owed->after) {
        bool again = owed->is_frame ? !session->live && owed->number > last_index : owed->number > last_request;

        if (owed->is_frame)
            owed->lost = !again && !is_pending(&pending, owed->number);
        if (again)
            send_parts(session->client, &owed->parts);
    }
    tell_lost(session);
    if (session->closing != NULL)
        send_blob(session->client, session->closing);
}

static void take_updated(wp_session *session, const msgpack_object *header)
{
    int64_t request = integer_at(header, "request", 0);
    struct answer *answer = answer_to(session, request);

    request_done(session, request);
    if (answer == NULL)
        return;
    answer->shown_at = integer_at(header, "shown_at", -1);
    answer->state = answer->shown_at >= 0 ? SHOWN : TAKEN;
}

static void take_flushed(wp_session *session, const msgpack_object *header)
{
    int64_t request = integer_at(header, "request", 0);
    struct answer *answer = answer_to(session, request);

    forget_request(session, request);
    if (answer != NULL)
        answer->state = DONE;
}

static void take_notice(wp_session *session, const msgpack_object *header)
{
    int name = snprintf(session->notice, sizeof session->notice,
                        "%s: ", wp_reason_name((wp_reason)choice_at(header, "code", REASONS, 0)));

    cut(session->notice + name, sizeof session->notice - (size_t)name, given(header, "message"));
}

static void take_closed(wp_session *session, const msgpack_object *header)
{
    const msgpack_object *totals = find(header, "totals");
    const char *ending = ENDINGS[choice_at(header, "reason", ENDINGS, 0)];

    if (strcmp(ending, "moved") == 0 && session->away)
        return; /* that was us */
    session->is_closed = true;
    session->totals.received = integer_at(totals, "received", 0);
    session->totals.painted = integer_at(totals, "painted", 0);
    session->totals.dropped = integer_at(totals, "dropped", 0);
    session->totals.failed = integer_at(totals, "failed", 0);
    session->totals.keyframes = integer_at(totals, "keyframes", 0);
    session->totals.canvas_pixels = integer_at(totals, "canvas_pixels", 0);
    session->totals.painted_pixels = integer_at(totals, "painted_pixels", 0);
    snprintf(session->why, sizeof session->why, "the session has ended: %s", ending);
}

/* Whether a refusal tells no more than that the connection was lost, which may be news. */
static bool is_stale(wp_session *session, wp_reason code, bool about_session)
{
    bool number_is_wrong = code == WP_REASON_NO_SESSION || code == WP_REASON_SESSION_EXISTS;

    if (!session->is_open)
        return about_session && code == WP_REASON_SESSION_EXISTS; /* `open` came twice: numbers are used once */
    if (session->away)
        return !about_session || number_is_wrong;
    if (code == WP_REASON_NO_SESSION && !(session->closing != NULL && about_session)) {
        session->away = session->resume_due = true; /* the daemon does not know it on this connection */
        session->away_since_ms = session->client->now_ms;
        return true;
    }
    /* What came twice: `close` finds the session closing, `resume` finds it here. */
    return about_session && number_is_wrong;
}

/* What was refused, or has failed. Refusals of what a lost connection carried are settled by `resumed`. Takes the
 * message. */
static void take_error(wp_session *session, struct message *message, bool again)
{
    const msgpack_object *header = &message->unpacked.data;
    wp_reason code = (wp_reason)choice_at(header, "code", REASONS, 0);
    int64_t request = integer_at(header, "request", -1);
    bool about_frame = given(header, "index") != NULL, about_session = !about_frame && request < 0;
    struct answer *answer = request < 0 ? NULL : answer_to(session, request);

    if (given(header, "seq") == NULL && is_stale(session, code, about_session)) {
        free_message(message);
        return;
    }
    if (about_frame) {
        frame_answered(session, message);
        return;
    }
    if (!about_session && !again) {
        forget_request(session, request);
        if (answer != NULL) {
            answer->state = DENIED;
            answer->reason = code;
            cut(answer->text, sizeof answer->text, given(header, "message"));
        }
    } else if (about_session && code == WP_REASON_UNKNOWN_TOKEN) {
        char why[240];

        cut(why, sizeof why, given(header, "message"));
        give_up(session, "the session did not outlive the loss of its connection: %s", why);
    } else if (about_session) {
        session->is_refused = true;
        session->refusal = code;
        cut(session->why, sizeof session->why, given(header, "message"));
    }
    free_message(message);
}

/* Takes a message of this session. An answer that comes again is passed over. */
static void take_in_session(wp_session *session, struct message *message)
{
    const msgpack_object *header = &message->unpacked.data;
    int64_t seq = integer_at(header, "seq", 0);
    bool again = given(header, "seq") != NULL && seq <= session->seq;

    if (seq > session->seq)
        session->seq = seq;
    if (message->kind == PAINTED || message->kind == DROPPED) {
        frame_answered(session, message); /* a frame is owed or not: its `seq` need not be asked */
        return;
    }
    if (message->kind == ERROR) {
        take_error(session, message, again);
        return;
    }
    if (message->kind == OPENED) {
        take_opened(session, message);
        return;
    }
    if (again)
        message->kind = STATUS; /* nothing to do */
    if (message->kind == RESUMED)
        take_resumed(session, header);
    else if (message->kind == CREDIT)
        set_window(session, integer_at(header, "frames", 0));
    else if (message->kind == UPDATED)
        take_updated(session, header);
    else if (message->kind == FLUSHED)
        take_flushed(session, header);
    else if (message->kind == NOTICE)
        take_notice(session, header);
    else if (message->kind == CLOSED)
        take_closed(session, header);
    free_message(message);
}

/* Says what is due after all that came has been received: `resume`, and one `ack` for many answers. */
static void settle_session(wp_session *session)
{
    if (session->resume_due && !is_over(session)) {
        session->resume_due = false;
        session->acked = session->seq;
        send_header(session->client, pack_resume(session->session, session->opened.token, session->seq));
    } else if (!session->away && session->seq > session->acked) {
        session->acked = session->seq;
        send_header(session->client, pack_ack(session->session, session->seq));
    }
}

static void free_session(wp_session *session)
{
    while (session->first != NULL)
        remove_owed(session, session->first);
    while (session->results != NULL) {
        struct message *first = session->results;

        session->results = first->next;
        free_message(first);
    }
    free_message(session->current);
    free_message(session->opened_message);
    let_go(session->opening);
    let_go(session->closing);
    free(session);
}

static void unlink_session(wp_session *session)
{
    wp_session **at = &session->client->sessions;

    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    free_session(session);
}

static void say_close(wp_session *session, bool discard)
{
    if (session->closing == NULL)
        session->closing = header_blob(pack_close(session->session, discard));
    if (session->closing == NULL)
        no_memory(session->client);
    else if (is_online(session) || (!session->is_open && !is_over(session)))
        send_blob(session->client, session->closing);
}

/* The connection */

static int64_t patience_ms(const wp_client *client)
{
    return client->reconnect_ms < 0 || !client->was_up ? PATIENCE_MS : client->reconnect_ms;
}

static int64_t longest_away_ms(const wp_session *session)
{
    double linger_ms = 1000 * session->opened.linger_s;

    if (session->client->reconnect_ms >= 0)
        return session->client->reconnect_ms;
    return linger_ms < LONGEST_WAIT_MS ? (int64_t)linger_ms : LONGEST_WAIT_MS;
}

static void give_up_late(wp_client *client)
{
    wp_session *session;

    for (session = client->sessions; session != NULL; session = session->next)
        if (session->away && client->now_ms >= session->away_since_ms + longest_away_ms(session))
            give_up(session, "the connection to the daemon at %s was lost, and it has not answered for %.1f s",
                    client->address, (double)(client->now_ms - session->away_since_ms) / 1000);
}

/* There is a connection, or a new one: what was asked of the old one is asked again. */
static void connected(wp_client *client)
{
    wp_session *session;

    drop_outbox(client);
    client->since_ms = client->heard_ms = client->now_ms;
    client->up = client->was_up = true;
    if (client->pongs < client->pings)
        send_header(client, pack_nonce("ping", client->pings));
    for (session = client->sessions; session != NULL; session = session->next) {
        if (!session->is_open && !is_over(session))
            send_blob(client, session->opening);
        session->resume_due = session->away && !is_over(session);
    }
}

/* The connection is gone. What was not sent yet is forgotten: the sessions know what they are owed. */
static void lost(wp_client *client)
{
    wp_session *session;

    drop_outbox(client);
    if (client->up)
        client->since_ms = client->now_ms;
    client->up = false;
    for (session = client->sessions; session != NULL; session = session->next) {
        if (session->is_open && !session->away) {
            session->away = true;
            session->away_since_ms = client->now_ms;
        }
        session->resume_due = false;
    }
    give_up_late(client);
}

static wp_session *find_session(const wp_client *client, int64_t number)
{
    wp_session *session;

    for (session = client->sessions; session != NULL; session = session->next)
        if (session->session == number)
            return session;
    return NULL;
}

/* Takes a message that was parsed. */
static void take(wp_client *client, struct message *message)
{
    const msgpack_object *header = &message->unpacked.data;
    wp_session *session = find_session(client, integer_at(header, "session", -1));
    int64_t nonce = integer_at(header, "nonce", 0);

    if (message->kind == PING)
        send_header(client, pack_nonce("pong", nonce));
    else if (message->kind == PONG)
        client->pongs = nonce > client->pongs ? nonce : client->pongs;
    else if (message->kind != WATCHING && message->kind != SEEN && session != NULL && !is_over(session)) {
        take_in_session(session, message); /* nobody watches here: a `seen` has a `seq` that is not the session's */
        return;
    }
    free_message(message);
}

/* Parses a message that came, all of its parts, and takes it. */
static void read_message(wp_client *client, struct message *message, size_t part_count, const size_t *payload_bytes)
{
    struct complaint complaint;
    int kind = parse(TO_CLIENT, zmq_msg_data(&message->parts[0]), zmq_msg_size(&message->parts[0]), payload_bytes,
                     part_count - 1, &message->unpacked, &complaint);

    client->heard_ms = client->now_ms;
    client->received++;
    if (kind >= 0) {
        message->kind = (enum kind)kind;
        take(client, message);
        return;
    }
    if (complaint.code != WP_REASON_UNKNOWN_TYPE) /* else of a newer daemon, which may say more */
        break_off(client, WP_GONE, "what answers at %s is no daemon of this version: %s", client->address,
                  complaint.text);
    free_message(message);
}

/* Takes a message, if there is one. Parts past the limit are counted, and not kept. */
static bool receive(wp_client *client)
{
    size_t payload_bytes[MAX_PAYLOADS + 1] = {0}, part_count = 0;
    struct message *message;
    zmq_msg_t part;
    bool more = true;

    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, client->socket, ZMQ_DONTWAIT) < 0) {
        if (errno != EAGAIN && errno != EINTR)
            break_off(client, WP_SYSTEM, "nothing can be received: %s", zmq_strerror(errno));
        zmq_msg_close(&part);
        return false;
    }
    message = calloc(1, sizeof *message);
    if (message == NULL)
        no_memory(client);
    while (more) {
        more = zmq_msg_more(&part) != 0;
        if (part_count > 0 && part_count <= MAX_PAYLOADS + 1)
            payload_bytes[part_count - 1] = zmq_msg_size(&part);
        if (message != NULL && part_count <= MAX_PAYLOADS) {
            zmq_msg_init(&message->parts[part_count]);
            zmq_msg_move(&message->parts[part_count], &part);
            message->part_count++;
        }
        part_count++;
        zmq_msg_close(&part);
        zmq_msg_init(&part);
        while (more && zmq_msg_recv(&part, client->socket, 0) < 0)
            if (errno != EINTR) {
                break_off(client, WP_SYSTEM, "nothing can be received: %s", zmq_strerror(errno));
                more = false;
            }
    }
    zmq_msg_close(&part);
    if (client->broken == WP_OK)
        read_message(client, message, part_count, payload_bytes);
    else
        free_message(message);
    return true;
}

/* The sockets. That a connection came or went is seen through the socket's monitor. A lost one gets a new socket: the
 * old one would connect anew too, but sends what was queued for the lost connection on the new one, before any
 * `resume`. */

static bool open_sockets(wp_client *client)
{
    int reconnect = RECONNECT_MS, longest = LONGEST_RECONNECT_MS, heartbeat = HEARTBEAT_MS;
    int heartbeat_timeout = HEARTBEAT_TIMEOUT_MS, buffer = SOCKET_BUFFER, linger = 0;
    int64_t most = MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES;
    char events[64];

    client->socket = zmq_socket(client->context, ZMQ_DEALER);
    client->monitor = zmq_socket(client->context, ZMQ_PAIR);
    if (client->socket == NULL || client->monitor == NULL)
        return false;
    snprintf(events, sizeof events, "inproc://events-%u", client->sockets++);
    return zmq_setsockopt(client->socket, ZMQ_RECONNECT_IVL, &reconnect, sizeof reconnect) == 0 &&
           zmq_setsockopt(client->socket, ZMQ_RECONNECT_IVL_MAX, &longest, sizeof longest) == 0 &&
           zmq_setsockopt(client->socket, ZMQ_HEARTBEAT_IVL, &heartbeat, sizeof heartbeat) == 0 &&
           zmq_setsockopt(client->socket, ZMQ_HEARTBEAT_TIMEOUT, &heartbeat_timeout, sizeof heartbeat_timeout) == 0 &&
           zmq_setsockopt(client->socket, ZMQ_SNDBUF, &buffer, sizeof buffer) == 0 &&
           zmq_setsockopt(client->socket, ZMQ_RCVBUF, &buffer, sizeof buffer) == 0 &&
           zmq_setsockopt(client->socket, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0 &&
           zmq_setsockopt(client->socket, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
           zmq_setsockopt(client->monitor, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
           zmq_socket_monitor(client->socket, events, ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) == 0 &&
           zmq_connect(client->monitor, events) == 0 && zmq_connect(client->socket, client->address) == 0;
}

static void close_sockets(wp_client *client, int linger_ms)
{
    if (client->socket != NULL) {
        zmq_socket_monitor(client->socket, NULL, 0);
        zmq_setsockopt(client->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        zmq_close(client->socket);
    }
    if (client->monitor != NULL)
        zmq_close(client->monitor);
    client->socket = client->monitor = NULL;
}

/* Which event the monitor tells; -1: none. Its first part is the event in 16 bits, in the machine's order, and a value.
 */
static int next_event(wp_client *client)
{
    zmq_msg_t part;
    uint16_t event = 0;
    bool more;

    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, client->monitor, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&part);
        return -1;
    }
    if (zmq_msg_size(&part) >= sizeof event)
        memcpy(&event, zmq_msg_data(&part), sizeof event);
    for (more = zmq_msg_more(&part) != 0; more; more = zmq_msg_more(&part) != 0)
        while (zmq_msg_recv(&part, client->monitor, 0) < 0)
            if (errno != EINTR) {
                zmq_msg_close(&part);
                return event;
            }
    zmq_msg_close(&part);
    return event;
}

/* Takes word of a connection that came or went. */
static bool take_event(wp_client *client)
{
    int event = next_event(client);
    bool stood = client->up;

    if (event < 0)
        return false;
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        connected(client);
    } else if (event == ZMQ_EVENT_DISCONNECTED) {
        lost(client);
        if (stood) { /* one that never came about is ZeroMQ's to try again: it has grown the pause already */
            close_sockets(client, 0);
            if (!open_sockets(client))
                break_off(client, WP_SYSTEM, "no socket can be made for %s: %s", client->address, zmq_strerror(errno));
        }
    }
    return true;
}

static void settle(wp_client *client)
{
    wp_session *session, *next;

    for (session = client->sessions; session != NULL; session = next) {
        next = session->next;
        if (client->up)
            settle_session(session);
        if (session->abandoned && is_over(session))
            unlink_session(session);
    }
}

/* Asks a silent daemon for a word, and gives up what has been away for too long. */
static void tick(wp_client *client)
{
    client->now_ms = clock_ms();
    if (client->up && client->asked_ms <= client->heard_ms && client->now_ms >= client->heard_ms + SILENCE_MS) {
        client->asked_ms = client->now_ms;
        send_header(client, pack_nonce("ping", ++client->pings));
    }
    give_up_late(client);
}

/* Takes what is there, and sends what there is to say. Whether anything came. Messages come before word of connections:
 * so `resume` names the last answer that the old one brought. */
static bool pump(wp_client *client)
{
    int taken = 0;

    client->now_ms = clock_ms();
    while (client->broken == WP_OK && taken < TAKEN_AT_ONCE && (receive(client) || take_event(client)))
        taken++;
    if (client->broken != WP_OK)
        return taken > 0;
    tick(client);
    settle(client);
    flush(client);
    return taken > 0;
}

/* WP_GONE, or what has broken, if nothing will come on the connection that stands. */
static wp_code check_alive(wp_client *client)
{
    if (client->broken != WP_OK)
        return fail(client, client->broken, "%s", client->why);
    if (client->up && client->asked_ms > client->heard_ms && client->now_ms >= client->asked_ms + PATIENCE_MS)
        return fail(client, WP_GONE, "the daemon at %s has not answered for %.0f s", client->address,
                    (double)(client->now_ms - client->heard_ms) / 1000);
    return WP_OK;
}

/* The same, also if there has been no connection for too long. */
static wp_code check(wp_client *client)
{
    wp_code code = check_alive(client);

    if (code == WP_OK && !client->up && client->now_ms >= client->since_ms + patience_ms(client))
        return fail(client, WP_GONE, "the daemon at %s has not answered for %.0f s", client->address,
                    (double)(client->now_ms - client->since_ms) / 1000);
    return code;
}

/* How long nothing need be looked at, milliseconds. */
static int64_t idle_ms(const wp_client *client)
{
    const wp_session *session;
    bool amiss = !client->up || client->asked_ms > client->heard_ms;

    for (session = client->sessions; session != NULL; session = session->next)
        amiss |= session->away && !is_over(session);
    if (amiss)
        return LOOK_MS;
    return client->heard_ms + SILENCE_MS > client->now_ms ? client->heard_ms + SILENCE_MS - client->now_ms : 0;
}

/* Waits until something comes, `fd` can be read, or there is something to do: the caller looks again. WP_AGAIN when the
 * time is over. */
static wp_code wait_until(wp_client *client, int64_t deadline, int fd, bool *readable)
{
    zmq_pollitem_t items[3];
    int64_t left;

    if (pump(client) || client->broken != WP_OK)
        return WP_OK;
    if (client->now_ms >= deadline)
        return WP_AGAIN;
    memset(items, 0, sizeof items);
    items[0].socket = client->socket;
    items[0].events = ZMQ_POLLIN | (client->outbox == NULL ? 0 : ZMQ_POLLOUT);
    items[1].socket = client->monitor;
    items[1].events = ZMQ_POLLIN;
    items[2].fd = fd;
    items[2].events = ZMQ_POLLIN;
    left = deadline - client->now_ms < idle_ms(client) ? deadline - client->now_ms : idle_ms(client);
    if (zmq_poll(items, fd < 0 ? 2 : 3, (long)left) < 0 && errno != EINTR)
        return fail(client, WP_SYSTEM, "nothing can be waited for: %s", zmq_strerror(errno));
    if (readable != NULL)
        *readable = fd >= 0 && items[2].revents != 0;
    pump(client);
    return WP_OK;
}

/* The functions of warpaint.h */

const char *wp_error_text(const wp_client *client)
{
    return client == NULL ? "there is no client, or no memory for one" : client->error;
}

wp_reason wp_error_reason(const wp_client *client)
{
    return client == NULL ? WP_REASON_NONE : client->reason;
}

/* Whether it is known at once that there is no daemon: ZeroMQ would try a missing socket again and again. */
static bool nobody_listens(const char *address)
{
    struct sockaddr_un path;
    bool nobody;
    int probe;

    if (strncmp(address, "ipc:///", 7) != 0 || strlen(address) - 6 >= sizeof path.sun_path)
        return false;
    memset(&path, 0, sizeof path);
    path.sun_family = AF_UNIX;
    strcpy(path.sun_path, address + 6);
    probe = socket(AF_UNIX, SOCK_STREAM, 0);
    if (probe < 0)
        return false;
    nobody = connect(probe, (struct sockaddr *)&path, sizeof path) != 0 && (errno == ENOENT || errno == ECONNREFUSED);
    close(probe);
    return nobody;
}

/* The address, or that of this user's daemon; NULL: there is no memory. */
static char *address_of(const char *address)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char fallback[64];
    size_t size;
    char *made;

    if (address != NULL)
        return strdup(address);
    snprintf(fallback, sizeof fallback, "/tmp/warpaint-%lu", (unsigned long)getuid());
    if (runtime == NULL || runtime[0] == '\0')
        size = strlen(fallback);
    else
        size = strlen(runtime) + strlen("/warpaint");
    made = malloc(size + sizeof "ipc:///warpaint.sock");
    if (made == NULL)
        return NULL;
    if (runtime == NULL || runtime[0] == '\0')
        sprintf(made, "ipc://%s/warpaint.sock", fallback);
    else
        sprintf(made, "ipc://%s/warpaint/warpaint.sock", runtime);
    return made;
}

wp_code wp_connect(const char *address, int timeout_ms, wp_client **client)
{
    wp_client *made;

    if (client == NULL)
        return WP_INVALID;
    *client = made = calloc(1, sizeof *made);
    if (made == NULL)
        return WP_MEMORY;
    made->reconnect_ms = -1;
    made->now_ms = made->since_ms = made->heard_ms = made->asked_ms = clock_ms();
    made->address = address_of(address);
    made->context = zmq_ctx_new();
    if (made->address == NULL || made->context == NULL) {
        wp_disconnect(made);
        *client = NULL;
        return WP_MEMORY;
    }
    if (!open_sockets(made)) {
        break_off(made, WP_INVALID, "%.200s is no address to connect to: %s", made->address, zmq_strerror(errno));
        return check_alive(made);
    }
    if (nobody_listens(made->address)) {
        break_off(made, WP_GONE, "no daemon answers at %s", made->address);
        return check_alive(made);
    }
    return wp_ping(made, timeout_ms);
}

void wp_disconnect(wp_client *client)
{
    wp_session *session;

    if (client == NULL)
        return;
    for (session = client->sessions; session != NULL; session = session->next)
        if (!is_over(session))
            say_close(session, true);
    if (client->socket != NULL && client->broken == WP_OK)
        flush(client);
    drop_outbox(client);
    close_sockets(client, client->up ? LAST_WORDS_MS : 0);
    if (client->context != NULL)
        while (zmq_ctx_term(client->context) != 0 && errno == EINTR)
            ;
    while (client->sessions != NULL)
        unlink_session(client->sessions);
    free(client->address);
    free(client);
}

void wp_reconnect_for(wp_client *client, int reconnect_ms)
{
    if (client != NULL)
        client->reconnect_ms = reconnect_ms;
}

wp_code wp_ping(wp_client *client, int timeout_ms)
{
    int64_t deadline = deadline_ms(timeout_ms), nonce;
    wp_code code;

    if (client == NULL)
        return WP_INVALID;
    nonce = ++client->pings;
    send_header(client, pack_nonce("ping", nonce));
    while (client->pongs < nonce) {
        if ((code = check_alive(client)) != WP_OK)
            return code;
        code = wait_until(client, deadline, -1, NULL);
        if (code == WP_AGAIN)
            return fail(client, WP_GONE, "no daemon answers at %s", client->address);
        if (code != WP_OK)
            return code;
    }
    return WP_OK;
}

wp_code wp_wait(wp_client *client, int fd, int timeout_ms)
{
    int64_t deadline = deadline_ms(timeout_ms);
    bool readable = false;
    uint64_t received;
    wp_code code;

    if (client == NULL)
        return WP_INVALID;
    received = client->received;
    pump(client);
    while (client->received == received && !readable) {
        if ((code = check_alive(client)) != WP_OK)
            return code;
        if ((code = wait_until(client, deadline, fd, &readable)) != WP_OK)
            return code;
    }
    return check_alive(client);
}

/* Whether the options are of their enumerations, so that they can be packed. */
static wp_code check_options(wp_client *client, const wp_options *options)
{
    struct complaint complaint;

    if ((unsigned)options->encoding > WP_AV1 || (unsigned)options->result_encoding > WP_AV1)
        return fail(client, WP_INVALID, "encoding: there is no such encoding");
    if ((unsigned)options->pixels > WP_NV12 || (unsigned)options->result_pixels > WP_NV12)
        return fail(client, WP_INVALID, "pixels: there is no such format");
    if ((unsigned)options->matrix > WP_BT2020 || (unsigned)options->pacing > WP_LIVE || options->maps > 15)
        return fail(client, WP_INVALID, "matrix, pacing or maps: there is no such value");
    if (options->stride_count > 4)
        return fail(client, WP_INVALID, "stride_count: a picture has at most 3 planes");
    if (!can_be_packed(options->brief, options->brief_count, &complaint))
        return fail(client, WP_INVALID, "brief: %s", complaint.text);
    return WP_OK;
}

static wp_code new_session(wp_client *client, const wp_options *options, wp_session **session)
{
    struct bytes header = pack_open(client->next_session, options);
    struct complaint complaint;
    wp_session *made;

    if (!check_outgoing(&header, 0, &complaint))
        return fail(client, complaint.code == WP_REASON_NONE ? WP_MEMORY : WP_INVALID, "%s", complaint.text);
    made = calloc(1, sizeof *made);
    if (made == NULL) {
        free(header.data);
        return fail(client, WP_MEMORY, "there is no memory for a session");
    }
    made->client = client;
    made->opening = header_blob(header);
    made->session = client->next_session++;
    made->live = options->pacing == WP_LIVE;
    made->control_bytes = wp_raw_bytes(WP_BGR24, options->width, options->height);
    if (options->encoding == WP_RAW)
        made->frame_bytes =
            raw_bytes(options->pixels, options->width, options->height, options->strides, options->stride_count);
    if (options->result_encoding == WP_RAW)
        made->result_bytes = wp_raw_bytes(options->result_pixels, options->width, options->height);
    if (made->opening == NULL || (options->encoding == WP_RAW && made->frame_bytes == 0)) {
        wp_code code = made->opening == NULL ? WP_MEMORY : WP_INVALID;

        free_session(made);
        return fail(client, code,
                    code == WP_MEMORY ? "there is no memory for a session"
                                      : "strides: one for each plane, at least a row of it");
    }
    made->next = client->sessions;
    client->sessions = *session = made;
    return WP_OK;
}

wp_code wp_open(wp_client *client, const wp_options *options, int timeout_ms, wp_session **session)
{
    int64_t deadline = deadline_ms(timeout_ms);
    wp_options mine;
    wp_session *made = NULL;
    wp_code code;

    if (session != NULL)
        *session = NULL;
    if (client == NULL)
        return WP_INVALID;
    if (options == NULL || session == NULL)
        return fail(client, WP_INVALID, "wp_open: options and session must not be NULL");
    if (options->size < offsetof(wp_options, strides) || options->size > sizeof mine)
        return fail(client, WP_INVALID, "wp_open: options.size is %zu; call wp_options_init first", options->size);
    wp_options_init(&mine, sizeof mine);
    memcpy(&mine, options, options->size);
    if (mine.client == NULL)
        mine.client = "warpaint c " WP_VERSION;
    if ((code = check_options(client, &mine)) != WP_OK || (code = new_session(client, &mine, &made)) != WP_OK)
        return code;
    send_blob(client, made->opening);
    while (!made->is_open) {
        if ((code = check_session(made)) == WP_OK && (code = check(client)) == WP_OK)
            code = wait_until(client, deadline, -1, NULL);
        if (code != WP_OK) {
            if (!is_over(made))
                say_close(made, true); /* should it be opened after all */
            flush(client);
            unlink_session(made);
            return code;
        }
    }
    *session = made;
    return check_alive(client);
}

const wp_opened *wp_session_opened(const wp_session *session)
{
    wp_session *mine = (wp_session *)session; /* only a number in it is brought up to date */

    if (session == NULL)
        return NULL;
    mine->opened.credit = (int32_t)session->window;
    return &session->opened;
}

/* Enters what is sent into the ledger, and sends it. owed is freed if that fails. */
static wp_code owe(wp_session *session, struct owed *owed)
{
    add_owed(session, owed);
    if (is_online(session))
        send_parts(session->client, &owed->parts);
    flush(session->client);
    return check_alive(session->client);
}

/* Waits until a frame may be sent. */
static wp_code await_room(wp_session *session, int64_t deadline)
{
    wp_client *client = session->client;
    wp_code code;

    pump(client);
    for (;;) {
        if ((code = check_alive(client)) != WP_OK || (code = check_session(session)) != WP_OK)
            return code;
        if (session->result_count >= session->most_results)
            return WP_AGAIN; /* only the caller can take them */
        if (session->frames < session->window && !(session->live && session->away))
            return WP_OK;
        if ((code = wait_until(client, deadline, -1, NULL)) != WP_OK)
            return code;
    }
}

static wp_code check_payloads(wp_session *session, const void *payload, size_t bytes, const wp_control *controls,
                              size_t control_count, int64_t pts)
{
    wp_client *client = session->client;
    size_t at;

    if ((payload == NULL && bytes > 0) || bytes > MAX_PAYLOAD_BYTES)
        return fail(client, WP_INVALID, "wp_push: a payload has at most %d bytes, and is not NULL", MAX_PAYLOAD_BYTES);
    if (session->frame_bytes != 0 && bytes != session->frame_bytes)
        return fail(client, WP_INVALID, "wp_push: a raw frame of this session has %llu bytes (got %zu)",
                    (unsigned long long)session->frame_bytes, bytes);
    if (pts > WP_MAX_INTEGER || pts < -WP_MAX_INTEGER)
        return fail(client, WP_INVALID, "wp_push: pts is out of range");
    if (control_count > MAX_CONTROLS || (controls == NULL && control_count > 0))
        return fail(client, WP_INVALID, "wp_push: a frame has at most %d control images", MAX_CONTROLS);
    for (at = 0; at < control_count; at++)
        if (controls[at].kind == NULL || controls[at].image == NULL ||
            controls[at].image_bytes != session->control_bytes)
            return fail(client, WP_INVALID, "wp_push: a control image has a kind, and %zu bytes",
                        session->control_bytes);
    return WP_OK;
}

static wp_code push(wp_session *session, const void *payload, size_t bytes, const wp_control *controls,
                    size_t control_count, bool keyframe, int64_t pts, int timeout_ms, int64_t *index)
{
    int64_t deadline = deadline_ms(timeout_ms);
    struct complaint complaint;
    struct bytes header;
    struct owed *owed;
    bool whole;
    wp_code code;
    size_t at;

    if (session == NULL)
        return WP_INVALID;
    if ((code = check_payloads(session, payload, bytes, controls, control_count, pts)) != WP_OK ||
        (code = await_room(session, deadline)) != WP_OK)
        return code;
    header = pack_frame(session->session, session->next_index, pts, controls, control_count, keyframe);
    if (!check_outgoing(&header, 1 + control_count, &complaint))
        return fail(session->client, complaint.code == WP_REASON_NONE ? WP_MEMORY : WP_INVALID, "wp_push: %s",
                    complaint.text);
    owed = calloc(1, sizeof *owed);
    if (owed == NULL) {
        free(header.data);
        return fail(session->client, WP_MEMORY, "there is no memory for a frame");
    }
    owed->is_frame = true;
    owed->number = session->next_index;
    owed->pts = pts;
    owed->parts.blobs[0] = header_blob(header);
    owed->parts.blobs[1] = new_blob(payload, bytes);
    for (at = 0; at < control_count; at++)
        owed->parts.blobs[2 + at] = new_blob(controls[at].image, controls[at].image_bytes);
    owed->parts.count = 2 + control_count;
    for (whole = true, at = 0; at < owed->parts.count; at++)
        whole &= owed->parts.blobs[at] != NULL;
    if (!whole) {
        let_go_of_parts(&owed->parts);
        free(owed);
        return fail(session->client, WP_MEMORY, "there is no memory for a frame of %zu bytes", bytes);
    }
    if (index != NULL)
        *index = session->next_index;
    session->next_index++;
    return owe(session, owed);
}

wp_code wp_push(wp_session *session, const void *payload, size_t bytes, int64_t pts, int timeout_ms, int64_t *index)
{
    return push(session, payload, bytes, NULL, 0, false, pts, timeout_ms, index);
}

wp_code wp_push_controls(wp_session *session, const void *payload, size_t bytes, const wp_control *controls,
                         size_t control_count, int64_t pts, int timeout_ms, int64_t *index)
{
    return push(session, payload, bytes, controls, control_count, false, pts, timeout_ms, index);
}

wp_code wp_push_keyframe(wp_session *session, const void *payload, size_t bytes, const wp_control *controls,
                         size_t control_count, int64_t pts, int timeout_ms, int64_t *index)
{
    return push(session, payload, bytes, controls, control_count, true, pts, timeout_ms, index);
}

wp_code wp_next(wp_session *session, int timeout_ms, const wp_result **result)
{
    int64_t deadline = deadline_ms(timeout_ms);
    wp_code code;

    if (session == NULL)
        return WP_INVALID;
    if (result == NULL)
        return fail(session->client, WP_INVALID, "wp_next: result must not be NULL");
    *result = NULL;
    free_message(session->current);
    session->current = NULL;
    pump(session->client);
    while (session->results == NULL) {
        if (session->frames == 0)
            return WP_END;
        if ((code = check_alive(session->client)) != WP_OK || (code = check_session(session)) != WP_OK ||
            (code = wait_until(session->client, deadline, -1, NULL)) != WP_OK)
            return code;
    }
    session->current = session->results;
    session->results = session->current->next;
    if (session->results == NULL)
        session->last_result = NULL;
    session->result_count--;
    *result = &session->current->result;
    return WP_OK;
}

size_t wp_unanswered(const wp_session *session)
{
    return session == NULL ? 0 : (size_t)session->frames;
}

/* Sends a request, whose header is used up. */
static wp_code ask(wp_session *session, struct bytes header)
{
    wp_client *client = session->client;
    struct complaint complaint;
    struct answer *answer;
    struct owed *owed;

    if (!check_outgoing(&header, 0, &complaint))
        return fail(client, complaint.code == WP_REASON_NONE ? WP_MEMORY : WP_INVALID, "%s", complaint.text);
    owed = calloc(1, sizeof *owed);
    if (owed == NULL) {
        free(header.data);
        return fail(client, WP_MEMORY, "there is no memory for a request");
    }
    owed->parts.blobs[0] = header_blob(header);
    if (owed->parts.blobs[0] == NULL) {
        free(owed);
        return fail(client, WP_MEMORY, "there is no memory for a request");
    }
    owed->parts.count = 1;
    owed->number = ++session->requests;
    answer = &session->answers[owed->number % REMEMBERED];
    memset(answer, 0, sizeof *answer);
    answer->request = owed->number;
    answer->state = WAITING;
    return owe(session, owed);
}

/* Whether a request can be made now; WP_AGAIN: so many wait already. */
static wp_code may_ask(wp_session *session)
{
    wp_code code;

    pump(session->client);
    if ((code = check_alive(session->client)) != WP_OK || (code = check_session(session)) != WP_OK)
        return code;
    return requests_waiting(session) >= MAX_REQUESTS ? WP_AGAIN : WP_OK;
}

wp_code wp_answered(wp_session *session, int64_t request, int timeout_ms)
{
    int64_t deadline = deadline_ms(timeout_ms);
    wp_code code;

    if (session == NULL)
        return WP_INVALID;
    for (;;) {
        struct answer *answer = request < 1 ? NULL : answer_to(session, request);

        if (answer == NULL)
            return fail(session->client, WP_INVALID, "there is no request %lld, or it is forgotten",
                        (long long)request);
        if (answer->state == DENIED)
            return refuse(session->client, answer->reason, answer->text);
        if (answer->state != WAITING)
            return WP_OK;
        if ((code = check_alive(session->client)) != WP_OK || (code = check_session(session)) != WP_OK ||
            (code = wait_until(session->client, deadline, -1, NULL)) != WP_OK)
            return code;
    }
}

/* Makes a request of this header, and waits for its first answer. */
static wp_code ask_and_wait(wp_session *session, struct bytes header, int timeout_ms, int64_t *request)
{
    wp_code code = ask(session, header);

    if (code != WP_OK)
        return code;
    if (request != NULL)
        *request = session->requests;
    return wp_answered(session, session->requests, timeout_ms);
}

wp_code wp_update(wp_session *session, const wp_field *changes, size_t change_count, int timeout_ms, int64_t *request)
{
    struct complaint complaint;
    wp_code code;

    if (session == NULL)
        return WP_INVALID;
    if (!can_be_packed(changes, change_count, &complaint))
        return fail(session->client, WP_INVALID, "wp_update: %s", complaint.text);
    if ((code = may_ask(session)) != WP_OK)
        return code;
    return ask_and_wait(session, pack_update(session->session, session->requests + 1, changes, change_count),
                        timeout_ms, request);
}

wp_code wp_rekey(wp_session *session, int timeout_ms, int64_t *request)
{
    wp_code code = session == NULL ? WP_INVALID : may_ask(session);

    if (code != WP_OK)
        return code;
    return ask_and_wait(session, pack_request("rekey", session->session, session->requests + 1), timeout_ms, request);
}

wp_code wp_hold(wp_session *session, bool on, int timeout_ms, int64_t *request)
{
    wp_code code = session == NULL ? WP_INVALID : may_ask(session);

    if (code != WP_OK)
        return code;
    return ask_and_wait(session, pack_hold(session->session, session->requests + 1, on), timeout_ms, request);
}

wp_code wp_flush(wp_session *session, int timeout_ms)
{
    wp_code code = session == NULL ? WP_INVALID : may_ask(session);

    if (code != WP_OK)
        return code;
    return ask_and_wait(session, pack_request("flush", session->session, session->requests + 1), timeout_ms, NULL);
}

wp_code wp_shown_at(wp_session *session, int64_t request, int64_t *index)
{
    struct answer *answer;

    if (session == NULL)
        return WP_INVALID;
    answer = request < 1 ? NULL : answer_to(session, request);
    if (answer == NULL)
        return fail(session->client, WP_INVALID, "there is no request %lld, or it is forgotten", (long long)request);
    if (answer->state == DENIED)
        return refuse(session->client, answer->reason, answer->text);
    if (answer->state != SHOWN)
        return WP_AGAIN;
    if (index != NULL)
        *index = answer->shown_at;
    return WP_OK;
}

wp_code wp_request_keyframe(wp_session *session)
{
    wp_code code = session == NULL ? WP_INVALID : check_session(session);

    if (code != WP_OK)
        return code;
    if (is_online(session)) /* after a loss the encoder begins with a keyframe anyway */
        send_header(session->client, pack_request_keyframe(session->session));
    pump(session->client);
    return check_alive(session->client);
}

const char *wp_notice_text(const wp_session *session)
{
    return session == NULL ? "" : session->notice;
}

wp_code wp_close(wp_session *session, bool discard, int timeout_ms, wp_totals *totals)
{
    int64_t deadline = deadline_ms(timeout_ms);
    wp_client *client;
    wp_code code = WP_OK;

    if (session == NULL)
        return WP_OK;
    client = session->client;
    pump(client);
    if (!is_over(session))
        say_close(session, discard);
    while (!session->is_closed) {
        if ((code = check_alive(client)) != WP_OK || (code = check_session(session)) != WP_OK ||
            (code = wait_until(client, deadline, -1, NULL)) != WP_OK)
            break;
    }
    if (session->is_closed && totals != NULL)
        *totals = session->totals;
    if (is_over(session) || client->broken != WP_OK) {
        unlink_session(session);
    } else {
        session->abandoned = true; /* until the daemon has heard of it */
        flush(client);
    }
    return code;
}
