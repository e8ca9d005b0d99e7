/* A camera for the C client: pushes live pictures by the clock, and notes when each went and when it came back.
 *
 *     latency ADDRESS FOLDER ENCODING WIDTH HEIGHT RATE COUNT MAX_DELAY_MS
 *
 * FOLDER holds the payloads, 000, 001 and so on; they are shown over and over. Each line of the output is a frame: its
 * index, when it was pushed, and when its result was there, milliseconds; those that were dropped are left out.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "warpaint.h"

#define MOST_PAYLOADS 1000

struct payload {
    unsigned char *data;
    size_t bytes;
};

static struct payload payloads[MOST_PAYLOADS];
static size_t payload_count;
static double *pushed;
static wp_client *client;

static double now_ms(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return 1e3 * (double)at.tv_sec + 1e-6 * (double)at.tv_nsec;
}

static void must(bool done, const char *what)
{
    if (done)
        return;
    fprintf(stderr, "latency: %s: %s\n", what, wp_error_text(client));
    exit(1);
}

static bool load(const char *folder, size_t number)
{
    char path[4096];
    struct payload *into = &payloads[number];
    FILE *file;
    long bytes;

    snprintf(path, sizeof path, "%s/%03zu", folder, number);
    if (!(file = fopen(path, "rb")))
        return false;
    must(fseek(file, 0, SEEK_END) == 0 && (bytes = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0, path);
    into->bytes = (size_t)bytes;
    must((into->data = malloc(into->bytes)) != NULL, "memory");
    must(fread(into->data, 1, into->bytes, file) == into->bytes, path);
    fclose(file);
    return true;
}

static void take(const wp_result *result)
{
    if (result->outcome == WP_PAINTED)
        printf("%" PRId64 " %.3f %.3f\n", result->index, pushed[result->index], now_ms());
}

/* Takes results until then. */
static void wait_until(wp_session *session, double due_ms)
{
    const wp_result *result;
    double left_ms;

    while ((left_ms = due_ms - now_ms()) > 0) {
        int timeout_ms = (int)left_ms + 1;
        wp_code code = wp_next(session, timeout_ms, &result);

        if (code == WP_OK)
            take(result);
        else if (code == WP_END)
            code = wp_wait(client, -1, timeout_ms);
        must(code == WP_OK || code == WP_AGAIN, "waiting");
    }
}

int main(int argc, char **argv)
{
    wp_options options;
    wp_session *session;
    const wp_result *result;
    wp_code code;

    must(argc == 9, "usage: latency ADDRESS FOLDER ENCODING WIDTH HEIGHT RATE COUNT MAX_DELAY_MS");
    while (payload_count < MOST_PAYLOADS && load(argv[2], payload_count))
        payload_count++;
    must(payload_count > 0, "no payloads");
    double rate = atof(argv[6]);
    int64_t count = atoll(argv[7]);
    must((pushed = calloc((size_t)count, sizeof *pushed)) != NULL, "memory");

    must(wp_connect(argv[1], 5000, &client) == WP_OK, "connecting");
    wp_options_init(&options, sizeof options);
    options.width = atoi(argv[4]), options.height = atoi(argv[5]);
    options.encoding = options.result_encoding = strcmp(argv[3], "jpeg") ? WP_RAW : WP_JPEG;
    options.pacing = WP_LIVE;
    options.max_delay_ms = atof(argv[8]);
    options.painter = "identity";
    must(wp_open(client, &options, 60000, &session) == WP_OK, "opening");

    double began_ms = now_ms();
    for (int64_t number = 0; number < count; number++) {
        struct payload *each = &payloads[(size_t)number % payload_count];
        int64_t index = number;

        wait_until(session, began_ms + 1e3 * (double)number / rate);
        double at_ms = now_ms();
        code = wp_push(session, each->data, each->bytes, (int64_t)(1e3 * (double)number / rate), 0, &index);
        must(code == WP_OK || code == WP_AGAIN, "pushing");
        if (code == WP_OK)
            pushed[index] = at_ms;
    }
    while ((code = wp_next(session, 5000, &result)) == WP_OK)
        take(result);
    must(code == WP_END, "the last results");
    wp_close(session, false, 5000, NULL);
    wp_disconnect(client);
    return 0;
}
