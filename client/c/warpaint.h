/* The client of Warpaint for C: connect, open a session, push frames, take what is painted.
 *
 *     wp_client *client;
 *     wp_session *session;
 *     const wp_result *result;
 *     wp_options options;
 *     wp_field brief[] = {wp_text("look", "ink"), wp_number("strength", 0.6)};
 *
 *     wp_options_init(&options, sizeof options);
 *     options.width = 640, options.height = 360;
 *     options.brief = brief, options.brief_count = 2;
 *     if (wp_connect(NULL, 5000, &client) != WP_OK || wp_open(client, &options, 60000, &session) != WP_OK)
 *         fprintf(stderr, "%s\n", wp_error_text(client));
 *     ...
 *     wp_push(session, pixels, bytes, pts, -1, NULL);
 *     while (wp_next(session, -1, &result) == WP_OK)
 *         show(result->image, result->image_bytes);
 *
 * A connection that is lost comes back by itself: sessions go on, and every result is delivered once.
 *
 * Threads: a client and its sessions are used by one thread at a time. Nothing is global, nothing calls back. Inside,
 * ZeroMQ has a thread of its own, which touches no memory of the caller.
 *
 * Waiting: `timeout_ms` is how long a function may wait; 0: not at all; negative: as long as it takes. A signal does
 * not end a wait: a program that is to stop on one waits for a limited time. Everything is received and sent inside
 * these functions: a program that has nothing to ask for calls wp_wait or wp_next now and then.
 *
 * Texts are UTF-8 and end with a zero byte. Sizes are bytes, unless a name says otherwise.
 */
#ifndef WARPAINT_H
#define WARPAINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WP_VERSION "0.1.0"

/* The largest index, timestamp or count of the protocol: 2^53 - 1. */
#define WP_MAX_INTEGER INT64_C(9007199254740991)

typedef struct wp_client wp_client;   /* a connection to a daemon, and those that take its place when it is lost */
typedef struct wp_session wp_session; /* a film being painted */

/* What a function has to say. All but WP_OK, WP_AGAIN and WP_END leave a sentence in wp_error_text. */
typedef enum wp_code {
    WP_OK = 0,
    WP_AGAIN,   /* not now: the time is over, or results wait to be taken. The same call may succeed later */
    WP_END,     /* of wp_next: every frame has been answered, and every answer taken */
    WP_REFUSED, /* the daemon refused: wp_error_reason has its code */
    WP_GONE,    /* the daemon does not answer or come back, or the session has ended */
    WP_INVALID, /* an argument is not what it must be; nothing was sent */
    WP_MEMORY,  /* there is no memory for it */
    WP_SYSTEM   /* ZeroMQ or the system failed */
} wp_code;

/* The codes of the protocol, as in proto/SPEC.md, "Errors". */
typedef enum wp_reason {
    WP_REASON_NONE = 0,
    WP_REASON_BAD_MESSAGE,
    WP_REASON_UNSUPPORTED_VERSION,
    WP_REASON_UNKNOWN_TYPE,
    WP_REASON_INVALID_FIELD,
    WP_REASON_TOO_LARGE,
    WP_REASON_NO_SESSION,
    WP_REASON_SESSION_EXISTS,
    WP_REASON_TOO_MANY_SESSIONS,
    WP_REASON_UNKNOWN_TOKEN,
    WP_REASON_OVERLOADED,
    WP_REASON_UNKNOWN_ENGINE,
    WP_REASON_BAD_BRIEF,
    WP_REASON_UNSUPPORTED,
    WP_REASON_BAD_PAYLOAD,
    WP_REASON_BAD_FRAME,
    WP_REASON_BAD_INDEX,
    WP_REASON_WINDOW_OVERRUN,
    WP_REASON_SUPERSEDED,
    WP_REASON_LATE,
    WP_REASON_SLOW_READER,
    WP_REASON_LOST,
    WP_REASON_PAINTER_FAILED,
    WP_REASON_PAINTER_TIMEOUT,
    WP_REASON_RESOURCE_EXHAUSTED,
    WP_REASON_PROMPT_CUT,
    WP_REASON_NO_STILL,
    WP_REASON_FLOW_FAILED,
    WP_REASON_ENCODER_FAILED,
    WP_REASON_CANCELLED,
    WP_REASON_SHUTTING_DOWN,
    WP_REASON_INTERNAL
} wp_reason;

typedef enum wp_encoding { WP_RAW = 0, WP_JPEG, WP_MJPEG, WP_H264, WP_HEVC, WP_VP8, WP_VP9, WP_AV1 } wp_encoding;

typedef enum wp_pixels { WP_BGR24 = 0, WP_RGB24, WP_BGRA, WP_GRAY, WP_YUV420P, WP_NV12 } wp_pixels;
typedef enum wp_matrix { WP_MATRIX_BY_SIZE = 0, WP_BT601, WP_BT709, WP_BT2020 } wp_matrix;
typedef enum wp_pacing { WP_EVERY = 0, WP_LIVE } wp_pacing;

/* Where most of a frame comes from. */
typedef enum wp_provenance { WP_BY_PAINTER = 0, WP_WARPED, WP_FILLED, WP_HELD } wp_provenance;

/* Maps that may come with each result: to be joined by |. */
enum { WP_FLOW = 1, WP_CONFIDENCE = 2, WP_HOPS = 4, WP_HOLES = 8 };

/* A field of the Brief and its value; docs/configuration.md lists them. Made by the functions below, which copy
 * pointers: name, text and list belong to the caller, and must stand until the call that the field is given to returns.
 */
typedef enum wp_kind { WP_NIL = 0, WP_TEXT, WP_INTEGER, WP_NUMBER, WP_BOOLEAN, WP_LIST } wp_kind;

typedef struct wp_field {
    const char *name;
    wp_kind kind;
    const char *text;
    int64_t integer;
    double number;
    bool boolean;
    const char *const *list; /* of texts */
    size_t list_count;
} wp_field;

static inline wp_field wp_nil(const char *name)
{
    wp_field field = {name, WP_NIL, NULL, 0, 0.0, false, NULL, 0};
    return field;
}

static inline wp_field wp_text(const char *name, const char *value)
{
    wp_field field = {name, WP_TEXT, value, 0, 0.0, false, NULL, 0};
    return field;
}

static inline wp_field wp_integer(const char *name, int64_t value)
{
    wp_field field = {name, WP_INTEGER, NULL, value, 0.0, false, NULL, 0};
    return field;
}

static inline wp_field wp_number(const char *name, double value)
{
    wp_field field = {name, WP_NUMBER, NULL, 0, value, false, NULL, 0};
    return field;
}

static inline wp_field wp_boolean(const char *name, bool value)
{
    wp_field field = {name, WP_BOOLEAN, NULL, 0, 0.0, value, NULL, 0};
    return field;
}

static inline wp_field wp_list(const char *name, const char *const *items, size_t item_count)
{
    wp_field field = {name, WP_LIST, NULL, 0, 0.0, false, items, item_count};
    return field;
}

/* What a session is opened with. wp_options_init gives every field its default; width and height must be set. All
 * pointers belong to the caller, and must stand until wp_open returns. Meanings: `open` in proto/SPEC.md. */
typedef struct wp_options {
    size_t size; /* of this struct, as the caller was compiled with; set by wp_options_init */

    /* The source: what will be pushed. */
    int32_t width, height; /* pixels, as stored */
    wp_encoding encoding;
    wp_pixels pixels;    /* of WP_RAW */
    int64_t strides[4];  /* of WP_RAW: bytes a row of each plane */
    size_t stride_count; /* 0: rows are tight */
    wp_matrix matrix;
    bool full_range;
    int64_t time_base[2];     /* seconds a tick of pts: numerator, denominator; default 1/1000 */
    int64_t sample_aspect[2]; /* width to height of a pixel */
    int32_t rotation;         /* degrees clockwise to show the picture upright */
    double rate;              /* frames a second; 0: not known */

    /* The result: how pictures come back. */
    wp_encoding result_encoding;
    wp_pixels result_pixels; /* of WP_RAW */
    int32_t quality;         /* of JPEG, 1 to 100 */
    int32_t crf;             /* of video codecs, 0 to 51 */
    int32_t gop_frames;      /* of video codecs */
    unsigned maps;           /* WP_FLOW | WP_CONFIDENCE | WP_HOPS | WP_HOLES */

    /* The session. */
    wp_pacing pacing;
    double max_delay_ms; /* of WP_LIVE */
    double linger_s;     /* how long it waits for a client that is gone; negative: as the daemon is set up */
    int64_t max_pixels;  /* the largest working canvas; 0: the daemon's */
    const char *painter; /* NULL: the daemon's default */
    const char *flow;    /* NULL: the daemon's default */
    const char *client;  /* name and version of the program, for the daemon's log; NULL: this library's */

    /* What to paint. */
    const wp_field *brief;
    size_t brief_count;
} wp_options;

/* A session as the daemon opened it. */
typedef struct wp_opened {
    const char *token; /* names the session beyond its connection */
    const char *painter, *flow, *server;
    const char *const *looks;
    size_t look_count;
    int32_t credit;        /* frames that may be unanswered at once, as of now */
    int32_t width, height; /* of the working canvas, which maps lie on, pixels */
    double linger_s;
} wp_opened;

/* A map of a result: rows from the top, little endian, tight. Not aligned: copy before reading it as float. */
typedef struct wp_map {
    unsigned kind; /* WP_FLOW, WP_CONFIDENCE, WP_HOPS or WP_HOLES */
    const void *data;
    size_t data_bytes;
    int32_t width, height; /* of the canvas, pixels */
    int32_t channels;      /* 2 for WP_FLOW, x then y; 1 for the others */
    int32_t sample_bytes;  /* 4: float; 1: unsigned char */
} wp_map;

typedef enum wp_outcome {
    WP_PAINTED = 0, /* there is a picture */
    WP_DROPPED,     /* by the daemon, or lost with the connection: reason, and stage says where */
    WP_FAILED       /* reason, and message says what happened */
} wp_outcome;

/* The answer to one frame. Fields that an outcome does not have are 0, NULL or false. */
typedef struct wp_result {
    wp_outcome outcome;
    int64_t index;
    int64_t pts; /* ticks of time_base, as pushed */

    /* Of WP_PAINTED. */
    const void *image; /* raw planes with tight rows, or the coded picture */
    size_t image_bytes;
    bool coded_keyframe; /* the picture can be decoded without an earlier one */
    int64_t epoch;       /* of the Brief that is seen */
    wp_provenance provenance;
    bool keyframe; /* a keyframe was painted for it */
    double holes, confidence;
    int64_t painted_pixels;
    double delay_ms; /* in the daemon, from arrival to sending */
    const wp_map *maps;
    size_t map_count;
    const char *const *tags;
    size_t tag_count;

    /* Of WP_DROPPED and WP_FAILED. */
    wp_reason reason;
    const char *stage;   /* "connection": it was lost with that */
    const char *message; /* for people */
} wp_result;

/* A control image: raw BGR, tight rows, of the source's width and height. Both pointers belong to the caller and are
 * copied. */
typedef struct wp_control {
    const char *kind;
    const void *image;
    size_t image_bytes;
} wp_control;

/* What became of a session's frames. */
typedef struct wp_totals {
    int64_t received, painted, dropped, failed, keyframes, canvas_pixels, painted_pixels;
} wp_totals;

/* Errors */

/* What went wrong in the latest call that did not succeed, in a sentence. Belongs to the client, and stands until the
 * next call with it or a session of it. NULL for a client is allowed. Never NULL. */
const char *wp_error_text(const wp_client *client);

/* The daemon's code of the latest WP_REFUSED; WP_REASON_NONE after anything else. */
wp_reason wp_error_reason(const wp_client *client);

/* The name of a code, as in the protocol ("unknown_engine"), or of what a function returned ("WP_AGAIN"). Static. */
const char *wp_reason_name(wp_reason reason);
const char *wp_code_name(wp_code code);

/* The connection */

/* Connects, and waits until the daemon has answered.
 *
 * address: ipc://... or tcp://...; NULL: the daemon of this user. Where nobody listens at an ipc address this is
 * WP_GONE at once: a program that waits for a daemon to start calls again.
 *
 * client: set in any case, also if this fails, so that wp_error_text can be asked: call wp_disconnect. NULL only after
 * WP_MEMORY. */
wp_code wp_connect(const char *address, int timeout_ms, wp_client **client);

/* Ends the sessions that are left, their frames with them, and frees everything. NULL is allowed. Sessions and results
 * of the client must not be used any more. Waits up to a second for the last words to leave. */
void wp_disconnect(wp_client *client);

/* How long a lost connection may take to come back, milliseconds. 0: a loss is the end of all sessions. Negative, the
 * default: as long as the sessions wait in the daemon, at most a minute. */
void wp_reconnect_for(wp_client *client, int reconnect_ms);

/* Waits until the daemon has answered a ping. */
wp_code wp_ping(wp_client *client, int timeout_ms);

/* Receives and sends what there is. If there was nothing, waits for a message, or until `fd` can be read (-1: nothing
 * else to wait for). WP_AGAIN after timeout_ms. */
wp_code wp_wait(wp_client *client, int fd, int timeout_ms);

/* A session */

/* Gives every option its default. size: sizeof(wp_options). */
void wp_options_init(wp_options *options, size_t size);

/* Opens a session. session: set to NULL if this fails. A session belongs to the caller until wp_close, or until
 * wp_disconnect. */
wp_code wp_open(wp_client *client, const wp_options *options, int timeout_ms, wp_session **session);

/* As it was opened. Belongs to the session. */
const wp_opened *wp_session_opened(const wp_session *session);

/* Sends a frame. payload: `bytes` bytes, raw planes or one coded picture. It is copied: the caller may reuse it at
 * once.
 *
 * pts: ticks of time_base. index: NULL, or set to the frame's number.
 *
 * WP_AGAIN: the daemon takes no more now, or as many results as it does wait for wp_next; take some, and push again.
 * (In WP_LIVE the frame is better forgotten: push the next one, with timeout_ms 0.) So what is kept here is bounded. */
wp_code wp_push(wp_session *session, const void *payload, size_t bytes, int64_t pts, int timeout_ms, int64_t *index);

/* The same with images for ControlNets. */
wp_code wp_push_controls(wp_session *session, const void *payload, size_t bytes, const wp_control *controls,
                         size_t control_count, int64_t pts, int timeout_ms, int64_t *index);

/* The same for a frame that is to be painted in full. With an image of the kind "still" the painter `stills` makes it
 * that picture. */
wp_code wp_push_keyframe(wp_session *session, const void *payload, size_t bytes, const wp_control *controls,
                         size_t control_count, int64_t pts, int timeout_ms, int64_t *index);

/* The next answer to a frame; in WP_EVERY in order of index. result belongs to the session, and stands until the next
 * call of wp_next or wp_close with it. WP_END: there is none to come. Where the brief has `lookahead_s`, frames wait for
 * later ones: before the wait for the last results call wp_flush. */
wp_code wp_next(wp_session *session, int timeout_ms, const wp_result **result);

/* Frames sent and not yet answered. */
size_t wp_unanswered(const wp_session *session);

/* Changes fields of the Brief from the next frame on. Waits until the daemon has agreed; WP_REFUSED: nothing has
 * changed.
 *
 * request: NULL, or set to the number of the request, also on WP_AGAIN: then wp_answered goes on waiting. */
wp_code wp_update(wp_session *session, const wp_field *changes, size_t change_count, int timeout_ms, int64_t *request);

/* Asks for a new keyframe at the next frame. */
wp_code wp_rekey(wp_session *session, int timeout_ms, int64_t *request);

/* Stops a live film on its last frame, or lets it go on. */
wp_code wp_hold(wp_session *session, bool on, int timeout_ms, int64_t *request);

/* Waits for the first answer to a request. */
wp_code wp_answered(wp_session *session, int64_t request, int timeout_ms);

/* Whether an update or rekey is seen: index is set to that of the first frame that shows it. Else WP_AGAIN. The latest
 * 128 requests are remembered. Does not wait, and does not receive. */
wp_code wp_shown_at(wp_session *session, int64_t request, int64_t *index);

/* Has the daemon finish what it holds, and waits for that. Of a coded source the next frame must be a keyframe. */
wp_code wp_flush(wp_session *session, int timeout_ms);

/* Asks the encoder of a coded result for a keyframe. */
wp_code wp_request_keyframe(wp_session *session);

/* What the daemon said last that cost no frame: a painting that failed, a prompt that was cut. "" if nothing. Belongs
 * to the session, until its next call. */
const char *wp_notice_text(const wp_session *session);

/* Ends a session, and frees it, whatever is returned; NULL is allowed. Frames in hand are finished first, unless
 * `discard`; their results are not delivered: call wp_next until WP_END before. totals: NULL, or what became of all
 * frames, if WP_OK is returned. */
wp_code wp_close(wp_session *session, bool discard, int timeout_ms, wp_totals *totals);

/* Bytes of a raw picture with tight rows; 0 for sides that are not 1 to 16384. */
size_t wp_raw_bytes(wp_pixels pixels, int32_t width, int32_t height);

#ifdef __cplusplus
}
#endif

#endif
