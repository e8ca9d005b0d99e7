/* Paints raw video from standard input to standard output.
 *
 *     ffmpeg -i in.mp4 -f rawvideo -pix_fmt yuv420p - |
 *         pipe_raw --size 640x360 --pixels yuv420p --fps 25 --look ink |
 *         ffmpeg -f rawvideo -pix_fmt yuv420p -s 640x360 -r 25 -i - out.mp4
 *
 *     --size WxH          pixels
 *     --pixels FORMAT     bgr24, rgb24, bgra, gray, yuv420p or nv12
 *     --fps RATE          frames a second, 25 or 30000/1001
 *     --look, --painter, --flow   what to paint like, and with
 *     --live              in time rather than every frame: what the daemon drops is replaced by the picture before it
 *     --daemon ADDRESS
 *
 * One frame comes out for each that goes in. No more of them are here and in the daemon than its credit: while it
 * paints those, nothing is read, and while nobody reads what is painted, nothing is. A frame is written as soon as it
 * is painted, also while the next one is not there yet. The exit code is 0, 1 if something was not painted or written,
 * or the library's wp_code.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "warpaint.h"

/* How long a daemon may take to answer, and to open a session. */
#define CONNECT_MS 10000
#define OPEN_MS 120000
/* Without credit: how long until it is asked again whether there is some. */
#define PAUSE_MS 100

struct pipe {
    wp_options options;
    wp_client *client;
    wp_session *session;
    unsigned char *frame, *last; /* that is being read; that was written last */
    size_t frame_bytes, filled;
    bool at_end, failed;
    int64_t pts;
};

static bool write_all(const unsigned char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(STDOUT_FILENO, data, bytes);

        if (written < 0 && errno != EINTR) {
            fprintf(stderr, "pipe_raw: cannot write: %s\n", strerror(errno));
            return false;
        }
        if (written > 0) {
            data += written;
            bytes -= (size_t)written;
        }
    }
    return true;
}

/* Writes a result; in place of a frame that was not painted, the picture before it. */
static bool put(struct pipe *pipe, const wp_result *result)
{
    if (result->outcome == WP_PAINTED) {
        memcpy(pipe->last, result->image, pipe->frame_bytes); /* the library has checked its length */
    } else if (pipe->options.pacing == WP_EVERY) {
        fprintf(stderr, "pipe_raw: frame %lld was not painted: %s: %s\n", (long long)result->index,
                wp_reason_name(result->reason), result->message);
        pipe->failed = true;
    }
    return write_all(pipe->last, pipe->frame_bytes);
}

/* Reads what is there of the next frame, if anything is. */
static bool fill(struct pipe *pipe)
{
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    ssize_t came;

    if (poll(&input, 1, 0) <= 0)
        return true;
    came = read(STDIN_FILENO, pipe->frame + pipe->filled, pipe->frame_bytes - pipe->filled);
    if (came < 0 && errno != EINTR && errno != EAGAIN) {
        fprintf(stderr, "pipe_raw: cannot read: %s\n", strerror(errno));
        return false;
    }
    if (came > 0)
        pipe->filled += (size_t)came;
    if (came == 0) {
        pipe->at_end = true;
        if (pipe->filled > 0) {
            fprintf(stderr, "pipe_raw: the last frame is cut short: %zu of %zu bytes\n", pipe->filled,
                    pipe->frame_bytes);
            pipe->failed = true;
        }
    }
    return true;
}

/* Waits for a result, as the daemon takes no more frames, and writes it. */
static wp_code make_room(struct pipe *pipe, bool *broken)
{
    const wp_result *result;
    wp_code code = wp_next(pipe->session, -1, &result);

    if (code == WP_OK)
        *broken = !put(pipe, result);
    if (code == WP_END) { /* no frame is on its way, and yet none is taken: there is no credit */
        code = wp_wait(pipe->client, -1, PAUSE_MS);
        code = code == WP_AGAIN ? WP_OK : code;
    }
    return code;
}

/* Until the input has ended and all is written. broken: a sentence was said. */
static wp_code run(struct pipe *pipe, bool *broken)
{
    const wp_result *result;
    wp_code code;

    while (!*broken) {
        while ((code = wp_next(pipe->session, 0, &result)) == WP_OK)
            if (!put(pipe, result)) {
                *broken = true;
                return WP_OK;
            }
        if (code != WP_AGAIN && code != WP_END)
            return code;
        if (pipe->at_end && code == WP_END)
            return WP_OK;
        if (pipe->filled == pipe->frame_bytes) {
            code = wp_push(pipe->session, pipe->frame, pipe->frame_bytes, pipe->pts, 0, NULL);
            if (code == WP_AGAIN) {
                code = make_room(pipe, broken);
            } else if (code == WP_OK) {
                pipe->filled = 0;
                pipe->pts++;
            }
        } else {
            code = wp_wait(pipe->client, pipe->at_end ? -1 : STDIN_FILENO, -1);
            if (code == WP_OK && !pipe->at_end)
                *broken = !fill(pipe);
        }
        if (code != WP_OK)
            return code;
    }
    return WP_OK;
}

static int usage(void)
{
    fprintf(stderr, "usage: pipe_raw --size WxH --pixels bgr24|rgb24|bgra|gray|yuv420p|nv12 --fps RATE [--look NAME] "
                    "[--painter NAME] [--flow NAME] [--live] [--daemon ADDRESS]\n");
    return 2;
}

static bool read_pixels(const char *text, wp_pixels *pixels)
{
    static const char *const NAMES[] = {"bgr24", "rgb24", "bgra", "gray", "yuv420p", "nv12"};
    size_t at;

    for (at = 0; at < sizeof NAMES / sizeof NAMES[0]; at++)
        if (strcmp(text, NAMES[at]) == 0) {
            *pixels = (wp_pixels)at;
            return true;
        }
    return false;
}

/* 25, 29.97 or 30000/1001: what a tick lasts, and how many come a second. */
static bool read_rate(const char *text, wp_options *options)
{
    char *after;
    double rate = strtod(text, &after);
    long long by = 1;

    if (!(rate > 0 && rate < 1e9))
        return false;
    if (*after == '/') {
        by = strtoll(after + 1, &after, 10);
        if (by < 1)
            return false;
    } else if (rate != (double)(long long)rate) {
        rate *= 1000;
        by = 1000;
    }
    options->time_base[0] = by;
    options->time_base[1] = (int64_t)(rate + 0.5);
    options->rate = rate / (double)by;
    return *after == '\0';
}

int main(int count, char **words)
{
    struct pipe pipe = {0};
    const char *address = NULL;
    wp_field look;
    bool broken = false;
    wp_code code;
    int word;

    wp_options_init(&pipe.options, sizeof pipe.options);
    for (word = 1; word < count; word++) {
        const char *name = words[word], *value = word + 1 < count ? words[word + 1] : NULL;

        if (strcmp(name, "--live") == 0) {
            pipe.options.pacing = WP_LIVE;
            continue;
        }
        if (value == NULL)
            return usage();
        if (strcmp(name, "--size") == 0) {
            if (sscanf(value, "%dx%d", &pipe.options.width, &pipe.options.height) != 2)
                return usage();
        } else if (strcmp(name, "--pixels") == 0) {
            if (!read_pixels(value, &pipe.options.pixels))
                return usage();
        } else if (strcmp(name, "--fps") == 0) {
            if (!read_rate(value, &pipe.options))
                return usage();
        } else if (strcmp(name, "--look") == 0) {
            look = wp_text("look", value);
            pipe.options.brief = &look;
            pipe.options.brief_count = 1;
        } else if (strcmp(name, "--painter") == 0) {
            pipe.options.painter = value;
        } else if (strcmp(name, "--flow") == 0) {
            pipe.options.flow = value;
        } else if (strcmp(name, "--daemon") == 0) {
            address = value;
        } else {
            return usage();
        }
        word++;
    }
    pipe.options.result_pixels = pipe.options.pixels;
    pipe.frame_bytes = wp_raw_bytes(pipe.options.pixels, pipe.options.width, pipe.options.height);
    if (pipe.frame_bytes == 0 || pipe.options.rate == 0)
        return usage();
    signal(SIGPIPE, SIG_IGN); /* whoever reads may go away: then the session is to be ended */
    pipe.frame = malloc(pipe.frame_bytes);
    pipe.last = calloc(pipe.frame_bytes, 1);
    if (pipe.frame == NULL || pipe.last == NULL) {
        fprintf(stderr, "pipe_raw: there is no memory for a frame\n");
        return 1;
    }
    code = wp_connect(address, CONNECT_MS, &pipe.client);
    if (code == WP_OK)
        code = wp_open(pipe.client, &pipe.options, OPEN_MS, &pipe.session);
    if (code == WP_OK)
        code = run(&pipe, &broken);
    if (code == WP_OK && !broken)
        code = wp_close(pipe.session, false, -1, NULL);
    if (code != WP_OK)
        fprintf(stderr, "pipe_raw: %s\n", wp_error_text(pipe.client));
    wp_disconnect(pipe.client);
    free(pipe.frame);
    free(pipe.last);
    return code != WP_OK ? (int)code : broken || pipe.failed ? 1 : 0;
}
