/* A session that does what it is told, line by line, and says what came of it. tests/client/test_c_client.py tells it.
 *
 *     test_session ADDRESS
 *
 * Frames are gray, 64 x 48, each of one shade. Each answer is one line; the word of a wp_code in it is without WP_.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "warpaint.h"

#define WIDTH 64
#define HEIGHT 48
#define STEP_MS 40

static wp_client *client;
static wp_session *session;
static int64_t pushed;
static bool noise; /* are frames of */

static void say(wp_code code)
{
    printf("%s", wp_code_name(code) + strlen("WP_"));
    if (code > WP_END)
        printf(" %s", wp_error_text(client));
    printf("\n");
}

/* How: NULL, "live", or "ahead": frames wait for those that come, as they are noise, in which nothing is found again. */
static void begin_session(const char *look, const char *how)
{
    wp_field brief[] = {wp_text("look", look), wp_number("lookahead_s", 10), wp_number("repaint_gap_s", 1000),
                        wp_text("keyframes", "marked"), wp_boolean("cut_detection", false)};
    wp_options options;

    wp_options_init(&options, sizeof options);
    options.width = WIDTH;
    options.height = HEIGHT;
    options.pixels = options.result_pixels = WP_GRAY;
    options.maps = WP_CONFIDENCE | WP_HOLES;
    options.brief = brief;
    noise = how != NULL && strcmp(how, "ahead") == 0;
    options.brief_count = noise ? sizeof brief / sizeof *brief : 1;
    options.pacing = how != NULL && !noise ? WP_LIVE : WP_EVERY;
    options.max_delay_ms = 10000;
    pushed = 0;
    say(wp_open(client, &options, 60000, &session));
}

static void push_frame(int timeout_ms)
{
    unsigned char frame[WIDTH * HEIGHT];
    int64_t index = -1;
    wp_code code;

    memset(frame, (int)(pushed % 256), sizeof frame);
    for (size_t at = 0; noise && at < sizeof frame; at++)
        frame[at] = (unsigned char)rand();
    code = wp_push(session, frame, sizeof frame, STEP_MS * pushed, timeout_ms, &index);
    memset(frame, 0, sizeof frame); /* it was copied */
    if (code == WP_OK && pushed++ != index)
        printf("an index of its own: ");
    say(code);
}

/* A frame with a control image, which has `bytes` bytes. A still marks it as a keyframe. */
static void push_control(const char *kind, size_t bytes)
{
    static unsigned char frame[WIDTH * HEIGHT], image[3 * WIDTH * HEIGHT];
    wp_control controls[] = {{kind, image, bytes}};
    bool still = strcmp(kind, "still") == 0;
    wp_code code = (still ? wp_push_keyframe : wp_push_controls)(session, frame, sizeof frame, controls, 1,
                                                                 STEP_MS * pushed, -1, NULL);

    pushed += code == WP_OK;
    say(code);
}

static void next_result(int timeout_ms)
{
    const wp_result *result;
    wp_code code = wp_next(session, timeout_ms, &result);

    if (code != WP_OK)
        say(code);
    else if (result->outcome == WP_PAINTED)
        printf("painted %" PRId64 " %" PRId64 " epoch %" PRId64 " maps %zu bytes %zu first %d\n", result->index,
               result->pts, result->epoch, result->map_count, result->image_bytes,
               *(const unsigned char *)result->image);
    else
        printf("%s %" PRId64 " %s %s\n", result->outcome == WP_DROPPED ? "dropped" : "failed", result->index,
               wp_reason_name(result->reason), result->stage);
}

static void end_session(bool discard)
{
    wp_totals totals;
    wp_code code = wp_close(session, discard, 60000, &totals);

    session = NULL;
    if (code != WP_OK)
        say(code);
    else
        printf("closed received %" PRId64 " painted %" PRId64 " dropped %" PRId64 " failed %" PRId64 "\n",
               totals.received, totals.painted, totals.dropped, totals.failed);
}

static void update(const char *name, const char *value)
{
    wp_field changes[] = {wp_text(name, value)};
    int64_t request = 0;
    wp_code code = wp_update(session, changes, 1, 30000, &request);

    if (code == WP_OK)
        printf("request %" PRId64 "\n", request);
    else
        say(code);
}

static void shown_at(int64_t request)
{
    int64_t index = -1;
    wp_code code = wp_shown_at(session, request, &index);

    if (code == WP_OK)
        printf("shown at %" PRId64 "\n", index);
    else
        say(code);
}

static bool obey(char *line)
{
    char *rest = NULL, *order = strtok_r(line, " \n", &rest), *one = strtok_r(NULL, " \n", &rest);
    char *other = strtok_r(NULL, " \n", &rest);
    int number = one == NULL ? 0 : atoi(one);

    if (order == NULL)
        return false;
    if (strcmp(order, "open") == 0)
        begin_session(one, other);
    else if (strcmp(order, "push") == 0)
        push_frame(number);
    else if (strcmp(order, "control") == 0)
        push_control(one, other == NULL ? 0 : strtoul(other, NULL, 10));
    else if (strcmp(order, "keyframe") == 0)
        say(wp_request_keyframe(session));
    else if (strcmp(order, "next") == 0)
        next_result(number);
    else if (strcmp(order, "update") == 0)
        update(one, other);
    else if (strcmp(order, "shown") == 0)
        shown_at(number);
    else if (strcmp(order, "rekey") == 0)
        say(wp_rekey(session, 30000, NULL));
    else if (strcmp(order, "hold") == 0)
        say(wp_hold(session, number != 0, 30000, NULL));
    else if (strcmp(order, "flush") == 0)
        say(wp_flush(session, 30000));
    else if (strcmp(order, "ping") == 0)
        say(wp_ping(client, number));
    else if (strcmp(order, "wait") == 0)
        say(wp_wait(client, -1, number));
    else if (strcmp(order, "reconnect") == 0)
        wp_reconnect_for(client, number), say(WP_OK);
    else if (strcmp(order, "opened") == 0)
        printf("%s %s, a look %s, credit %d, canvas %dx%d\n", wp_session_opened(session)->painter,
               wp_session_opened(session)->flow, wp_session_opened(session)->looks[0],
               wp_session_opened(session)->credit, wp_session_opened(session)->width,
               wp_session_opened(session)->height);
    else if (strcmp(order, "unanswered") == 0)
        printf("%zu\n", wp_unanswered(session));
    else if (strcmp(order, "close") == 0)
        end_session(number != 0);
    else
        return false;
    return fflush(stdout) == 0;
}

int main(int count, char **words)
{
    char *line = NULL;
    size_t room = 0;
    wp_code code = wp_connect(count > 1 ? words[1] : NULL, 10000, &client);

    say(code);
    fflush(stdout);
    while (code == WP_OK && getline(&line, &room, stdin) > 0 && obey(line))
        ;
    free(line);
    wp_disconnect(client);
    return (int)code;
}
