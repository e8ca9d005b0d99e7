/* Paints the JPEGs of a folder, in order of their names, as one film, and writes them under the same names into
 * another.
 *
 *     paint_folder IN OUT [--look NAME] [--painter NAME] [--strength 0..1] [--quality 1..100] [--daemon ADDRESS]
 *
 * The pictures go to the daemon as they are, and come back as JPEG: nothing is decoded here. A picture of another size
 * than the one before it begins a new session. The exit code is 0, 1 if a picture was not painted, or the library's
 * wp_code.
 */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "warpaint.h"

/* Milliseconds from picture to picture: 25 a second. */
#define STEP_MS 40
/* How long a daemon may take to answer, and to open a session. */
#define CONNECT_MS 10000
#define OPEN_MS 120000
/* No picture is larger: a daemon takes no more. */
#define MOST_BYTES 268435456

struct job {
    const char *in, *out;
    char **names;
    size_t count, first; /* first: of the names, of this session */
    wp_options options;
    wp_client *client;
    wp_session *session;
    bool failed; /* a picture was not painted */
};

static bool complain_of(const char *folder, const char *name)
{
    fprintf(stderr, "paint_folder: %s/%s: %s\n", folder, name, strerror(errno));
    return false;
}

static FILE *open_in(const char *folder, const char *name, const char *mode)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    FILE *file = NULL;

    if (path != NULL) {
        snprintf(path, size, "%s/%s", folder, name);
        file = fopen(path, mode);
    }
    free(path);
    return file;
}

/* The bytes of a file, to be freed; NULL: a sentence was said. */
static unsigned char *read_file(const char *folder, const char *name, size_t *bytes)
{
    FILE *file = open_in(folder, name, "rb");
    unsigned char *data = NULL;
    long size = -1;

    if (file != NULL && fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    if (size > MOST_BYTES)
        errno = EFBIG;
    else if (size >= 0 && fseek(file, 0, SEEK_SET) == 0)
        data = malloc((size_t)size + 1);
    if (data != NULL && fread(data, 1, (size_t)size, file) != (size_t)size) {
        free(data);
        data = NULL;
    }
    if (data == NULL)
        complain_of(folder, name);
    if (file != NULL)
        fclose(file);
    *bytes = (size_t)size;
    return data;
}

static bool write_file(const char *folder, const char *name, const void *data, size_t bytes)
{
    FILE *file = open_in(folder, name, "wb");
    bool written = file != NULL && fwrite(data, 1, bytes, file) == bytes;

    if (file != NULL)
        written = fclose(file) == 0 && written;
    return written || complain_of(folder, name);
}

/* Reads the size of a JPEG from its frame header: a marker C0 to CF, but for three that mean something else. */
static bool jpeg_size(const unsigned char *data, size_t bytes, int32_t *width, int32_t *height)
{
    size_t at = 2;

    if (bytes < 4 || data[0] != 0xff || data[1] != 0xd8)
        return false;
    while (at + 9 <= bytes && data[at] == 0xff) {
        unsigned marker = data[at + 1];

        if (marker == 0xff) { /* padding */
            at++;
            continue;
        }
        if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
            *height = data[at + 5] << 8 | data[at + 6];
            *width = data[at + 7] << 8 | data[at + 8];
            return *width > 0 && *height > 0;
        }
        at += 2 + (size_t)(data[at + 2] << 8 | data[at + 3]);
    }
    return false;
}

static int by_name(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static bool is_jpeg(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0);
}

static bool list_folder(struct job *job)
{
    DIR *folder = opendir(job->in);
    struct dirent *entry;
    size_t room = 0;

    if (folder == NULL)
        return complain_of(job->in, ".");
    while ((entry = readdir(folder)) != NULL) {
        if (!is_jpeg(entry->d_name))
            continue;
        if (job->count == room) {
            char **grown = realloc(job->names, (room = 2 * room + 16) * sizeof *grown);

            if (grown == NULL)
                break;
            job->names = grown;
        }
        if ((job->names[job->count] = strdup(entry->d_name)) == NULL)
            break;
        job->count++;
    }
    closedir(folder);
    if (entry != NULL)
        return complain_of(job->in, ".");
    if (job->count > 0)
        qsort(job->names, job->count, sizeof *job->names, by_name);
    return true;
}

/* Takes one result, waiting for it, and writes it. */
static wp_code take_one(struct job *job)
{
    const wp_result *result;
    const char *name;
    wp_code code = wp_next(job->session, -1, &result);

    if (code != WP_OK)
        return code;
    name = job->names[job->first + (size_t)result->index];
    if (result->outcome != WP_PAINTED) {
        fprintf(stderr, "paint_folder: %s was not painted: %s: %s\n", name, wp_reason_name(result->reason),
                result->message);
        job->failed = true;
    } else if (!write_file(job->out, name, result->image, result->image_bytes)) {
        job->failed = true;
    }
    return WP_OK;
}

static wp_code finish_session(struct job *job)
{
    wp_code code = WP_END;
    wp_session *session = job->session;

    if (session == NULL)
        return WP_OK;
    while ((code = take_one(job)) == WP_OK)
        ;
    if (code != WP_END)
        return code;
    job->session = NULL;
    return wp_close(session, false, -1, NULL);
}

static wp_code push_file(struct job *job, size_t number)
{
    size_t bytes;
    unsigned char *data = read_file(job->in, job->names[number], &bytes);
    int32_t width, height;
    wp_code code = WP_OK;

    if (data == NULL || !jpeg_size(data, bytes, &width, &height)) {
        if (data != NULL)
            fprintf(stderr, "paint_folder: %s is no JPEG\n", job->names[number]);
        job->failed = true;
        free(data);
        /* Indices count what was pushed: names must too. */
        code = finish_session(job);
        job->first = number + 1;
        return code;
    }
    if (job->session != NULL && (width != job->options.width || height != job->options.height))
        code = finish_session(job);
    if (code == WP_OK && job->session == NULL) {
        job->options.width = width;
        job->options.height = height;
        job->first = number;
        code = wp_open(job->client, &job->options, OPEN_MS, &job->session);
    }
    if (code == WP_OK)
        /* WP_AGAIN, although it may wait: results are to be taken first. */
        while ((code = wp_push(job->session, data, bytes, STEP_MS * (int64_t)(number - job->first), -1, NULL)) ==
               WP_AGAIN)
            if ((code = take_one(job)) != WP_OK)
                break;
    free(data);
    return code;
}

static int usage(void)
{
    fprintf(stderr, "usage: paint_folder IN OUT [--look NAME] [--painter NAME] [--strength 0..1] [--quality 1..100] "
                    "[--daemon ADDRESS]\n");
    return 2;
}

int main(int count, char **words)
{
    struct job job = {0};
    const char *address = NULL;
    wp_field brief[2];
    wp_code code;
    size_t at;
    int word;

    wp_options_init(&job.options, sizeof job.options);
    job.options.encoding = job.options.result_encoding = WP_JPEG;
    job.options.brief = brief;
    for (word = 1; word < count; word++) {
        const char *value = word + 1 < count ? words[word + 1] : NULL;

        if (words[word][0] != '-') {
            if (job.out != NULL)
                return usage();
            *(job.in == NULL ? &job.in : &job.out) = words[word];
            continue;
        }
        if (value == NULL)
            return usage();
        if (strcmp(words[word], "--look") == 0 && job.options.brief_count < 2)
            brief[job.options.brief_count++] = wp_text("look", value);
        else if (strcmp(words[word], "--strength") == 0 && job.options.brief_count < 2)
            brief[job.options.brief_count++] = wp_number("strength", strtod(value, NULL));
        else if (strcmp(words[word], "--painter") == 0)
            job.options.painter = value;
        else if (strcmp(words[word], "--quality") == 0)
            job.options.quality = atoi(value);
        else if (strcmp(words[word], "--daemon") == 0)
            address = value;
        else
            return usage();
        word++;
    }
    if (job.out == NULL)
        return usage();
    if (!list_folder(&job))
        return 1;
    code = wp_connect(address, CONNECT_MS, &job.client);
    for (at = 0; code == WP_OK && at < job.count; at++)
        code = push_file(&job, at);
    if (code == WP_OK)
        code = finish_session(&job);
    if (code != WP_OK)
        fprintf(stderr, "paint_folder: %s\n", wp_error_text(job.client));
    wp_disconnect(job.client);
    for (at = 0; at < job.count; at++)
        free(job.names[at]);
    free(job.names);
    return code != WP_OK ? (int)code : job.failed ? 1 : 0;
}
