/* Reads messages from standard input, one a line, and says what it makes of them.
 *
 * A line: the direction (to_server or to_client), then the parts of the message, the header first. A part is hex, or
 * pieces joined by +, each hex or HEX*TIMES; - is an empty part. tests/client/test_c_client.py makes them of
 * proto/vectors.
 *
 *     test_vectors check
 *         says for each "error CODE SENTENCE", or "ok TYPE HEADER": the header packed again, in hex.
 *     test_vectors fuzz SEED ROUNDS
 *         spoils each message so many times, parses it in both directions, and gives it to a session; says how many were
 *         taken and refused. What matters is that it ends well.
 */
#include "warpaint.c"

/* Reading lines */

struct part {
    unsigned char *data;
    size_t size;
};

struct line {
    const struct table *tables;
    struct part parts[16];
    size_t count;
};

static void stop(const char *why)
{
    fprintf(stderr, "test_vectors: %s\n", why);
    exit(2);
}

static unsigned nibble(char digit)
{
    const char *const digits = "0123456789abcdef", *found = memchr(digits, digit, 16);

    if (found == NULL)
        stop("a part is not hex");
    return (unsigned)(found - digits);
}

/* Bytes of a piece, without its repetition. */
static size_t unhex(const char *hex, size_t digits, unsigned char *to)
{
    size_t at;

    for (at = 0; at + 1 < digits; at += 2)
        to[at / 2] = (unsigned char)(nibble(hex[at]) << 4 | nibble(hex[at + 1]));
    return digits / 2;
}

static struct part read_part(char *text)
{
    struct part part = {NULL, 0};
    char *piece, *rest = NULL;

    for (piece = strcmp(text, "-") == 0 ? NULL : strtok_r(text, "+", &rest); piece != NULL;
         piece = strtok_r(NULL, "+", &rest)) {
        char *star = strchr(piece, '*');
        size_t digits = star == NULL ? strlen(piece) : (size_t)(star - piece), bytes = digits / 2;
        size_t times = star == NULL ? 1 : strtoull(star + 1, NULL, 10), at;
        bool zeros = part.data == NULL && digits == 2 && memcmp(piece, "00", 2) == 0;
        /* Zeros past the limit of a payload cost no memory so. */
        unsigned char *grown = zeros ? calloc(times, 1) : realloc(part.data, part.size + bytes * times);

        if (grown == NULL)
            stop("there is no memory");
        part.data = grown;
        for (at = 0; !zeros && at < times; at++)
            unhex(piece, digits, part.data + part.size + at * bytes);
        part.size += bytes * times;
    }
    return part;
}

static struct line read_line(char *text)
{
    struct line line = {NULL, {{NULL, 0}}, 0};
    char *rest = NULL, *word = strtok_r(text, " \n", &rest);

    if (word == NULL)
        stop("an empty line");
    line.tables = strcmp(word, "to_server") == 0 ? TO_SERVER : TO_CLIENT;
    while ((word = strtok_r(NULL, " \n", &rest)) != NULL) {
        if (line.count == sizeof line.parts / sizeof line.parts[0])
            stop("too many parts");
        line.parts[line.count++] = read_part(word);
    }
    return line;
}

static void free_line(struct line *line)
{
    while (line->count > 0)
        free(line->parts[--line->count].data);
}

/* Packing again: what goes to the server by the client's own functions, what goes to the client by its table. */

/* What is made of one line. */
static msgpack_zone *zone;

static void *space(size_t size)
{
    void *made = msgpack_zone_malloc(zone, size);

    if (made == NULL)
        stop("there is no memory");
    return made;
}

/* As `copied`, for a header without a message. */
static const char *kept(const msgpack_object *object)
{
    char *text;

    if (object == NULL)
        return NULL;
    text = space((size_t)object->via.str.size + 1);
    memcpy(text, object->via.str.ptr, object->via.str.size);
    text[object->via.str.size] = '\0';
    return text;
}

static const char *const *kept_list(msgpack_object_array list)
{
    const char **texts = space(((size_t)list.size + 1) * sizeof *texts);
    uint32_t at;

    for (at = 0; at < list.size; at++)
        texts[at] = kept(&list.ptr[at]);
    return texts;
}

static wp_field field_of(const msgpack_object_kv *entry)
{
    const char *name = kept(&entry->key);
    const msgpack_object *value = &entry->val;

    if (is_integer(value))
        return wp_integer(name,
                          value->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? (int64_t)value->via.u64 : value->via.i64);
    switch (value->type) {
    case MSGPACK_OBJECT_STR:
        return wp_text(name, kept(value));
    case MSGPACK_OBJECT_BOOLEAN:
        return wp_boolean(name, value->via.boolean);
    case MSGPACK_OBJECT_ARRAY:
        return wp_list(name, kept_list(value->via.array), value->via.array.size);
    case MSGPACK_OBJECT_NIL:
        return wp_nil(name);
    default:
        return wp_number(name, value->via.f64);
    }
}

static const wp_field *fields_of(const msgpack_object *map, size_t *count)
{
    wp_field *fields = space(MAX_CHANGES * sizeof *fields);
    uint32_t at;

    for (at = 0; map != NULL && at < map->via.map.size && at < MAX_CHANGES; at++)
        fields[at] = field_of(&map->via.map.ptr[at]);
    *count = at;
    return fields;
}

static size_t pair_at(const msgpack_object *map, const char *key, int64_t *to)
{
    msgpack_object_array list = list_at(map, key);
    uint32_t at;

    for (at = 0; at < list.size; at++)
        to[at] = (int64_t)list.ptr[at].via.u64;
    return list.size;
}

static struct bytes open_again(const msgpack_object *header, int64_t session)
{
    static const msgpack_object EMPTY = {.type = MSGPACK_OBJECT_MAP};
    const msgpack_object *source = find(header, "source"), *result = given(header, "result");
    const msgpack_object *colour = given(source, "colour");
    msgpack_object_array maps = list_at(header, "maps");
    wp_options options;
    uint32_t at;

    wp_options_init(&options, sizeof options);
    result = result == NULL ? &EMPTY : result;
    colour = colour == NULL ? &EMPTY : colour;
    options.width = (int32_t)integer_at(source, "width", 0);
    options.height = (int32_t)integer_at(source, "height", 0);
    options.encoding = (wp_encoding)choice_at(source, "encoding", ENCODINGS, 0);
    options.pixels = (wp_pixels)choice_at(source, "pixels", PIXELS, 0);
    options.stride_count = pair_at(source, "strides", options.strides);
    options.matrix = (wp_matrix)(choice_at(colour, "matrix", MATRICES, -1) + 1);
    options.full_range = boolean_at(colour, "full_range", false);
    pair_at(source, "time_base", options.time_base);
    pair_at(source, "sample_aspect", options.sample_aspect);
    options.rotation = (int32_t)integer_at(source, "rotation", 0);
    options.rate = number_at(source, "rate", 0);
    options.result_encoding = (wp_encoding)choice_at(result, "encoding", ENCODINGS, 0);
    options.result_pixels = (wp_pixels)choice_at(result, "pixels", PIXELS, 0);
    options.quality = (int32_t)integer_at(result, "quality", 90);
    options.crf = (int32_t)integer_at(result, "crf", 20);
    options.gop_frames = (int32_t)integer_at(result, "gop_frames", 60);
    for (at = 0; at < maps.size; at++)
        options.maps |= 1u << choice_of(&maps.ptr[at], MAPS);
    options.pacing = (wp_pacing)choice_at(header, "pacing", PACINGS, 0);
    options.max_delay_ms = number_at(header, "max_delay_ms", 100);
    options.linger_s = number_at(header, "linger_s", -1);
    options.max_pixels = integer_at(header, "max_pixels", 0);
    options.painter = kept(given(header, "painter"));
    options.flow = kept(given(header, "flow"));
    options.client = kept(given(header, "client"));
    options.brief = fields_of(given(header, "brief"), &options.brief_count);
    return pack_open(session, &options);
}

static struct bytes server_again(const msgpack_object *header, const char *type)
{
    int64_t session = integer_at(header, "session", 0), request = integer_at(header, "request", 0);
    int64_t seq = integer_at(header, "seq", 0);
    struct map map;

    if (strcmp(type, "open") == 0)
        return open_again(header, session);
    if (strcmp(type, "resume") == 0)
        return pack_resume(session, kept(find(header, "token")), seq);
    if (strcmp(type, "ack") == 0)
        return pack_ack(session, seq);
    if (strcmp(type, "frame") == 0) {
        msgpack_object_array kinds = list_at(header, "controls");
        wp_control controls[MAX_CONTROLS] = {{NULL, NULL, 0}};
        uint32_t at;

        for (at = 0; at < kinds.size; at++)
            controls[at].kind = kept(&kinds.ptr[at]);
        return pack_frame(session, integer_at(header, "index", 0), integer_at(header, "pts", 0), controls, kinds.size,
                          find(header, "keyframe") != NULL && find(header, "keyframe")->via.boolean);
    }
    if (strcmp(type, "update") == 0) {
        size_t count;
        const wp_field *fields = fields_of(find(header, "changes"), &count);

        return pack_update(session, request, fields, count);
    }
    if (strcmp(type, "hold") == 0)
        return pack_hold(session, request, boolean_at(header, "on", false));
    if (strcmp(type, "request_keyframe") == 0)
        return pack_request_keyframe(session);
    if (strcmp(type, "close") == 0)
        return pack_close(session, boolean_at(header, "discard", false));
    if (strcmp(type, "ping") == 0 || strcmp(type, "pong") == 0)
        return pack_nonce(type, integer_at(header, "nonce", 0));
    if (strcmp(type, "status") != 0)
        return pack_request(type, session, request);
    begin_message(&map, "status");
    return end(&map);
}

/* The fields that a table knows. */
static struct bytes by_table(const msgpack_object *header, const struct table *table)
{
    const struct field *each;
    struct map map;

    begin_message(&map, table->name);
    for (each = table->fields; each->key != NULL; each++) {
        const msgpack_object *value = find(header, each->key);

        if (value != NULL) {
            key(&map, each->key);
            msgpack_pack_object(&map.packer, *value);
        }
    }
    return end(&map);
}

static void check_line(const struct line *line)
{
    size_t sizes[16] = {0}, at;
    struct complaint complaint;
    msgpack_unpacked unpacked;
    struct bytes again;
    int kind;

    for (at = 1; at < line->count; at++)
        sizes[at - 1] = line->parts[at].size;
    kind = parse(line->tables, line->parts[0].data, line->parts[0].size, sizes, line->count > 0 ? line->count - 1 : 0,
                 &unpacked, &complaint);
    if (kind < 0) {
        printf("error %s %s\n", wp_reason_name(complaint.code), complaint.text);
    } else {
        const struct table *table = &line->tables[kind];

        /* The library does not watch: it has nothing that packs a `watch`. */
        if (line->tables == TO_SERVER && table->fields != WATCH_FIELDS)
            again = server_again(&unpacked.data, table->name);
        else
            again = by_table(&unpacked.data, table);
        printf("ok %s ", table->name);
        for (at = 0; at < again.size; at++)
            printf("%02x", (unsigned char)again.data[at]);
        printf("\n");
        free(again.data);
    }
    msgpack_zone_clear(zone);
    msgpack_unpacked_destroy(&unpacked);
}

/* Fuzzing */

static uint64_t chance = 1;

static uint64_t below(uint64_t limit)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance % limit;
}

/* A spoilt copy, in exactly so much memory as it needs: so that a byte read past its end is seen. */
static struct part spoilt(const struct part *part)
{
    struct part copy = {malloc(part->size + 1), part->size};
    uint64_t changes = 1 + below(3);

    if (copy.data == NULL)
        stop("there is no memory");
    if (part->size > 0)
        memcpy(copy.data, part->data, part->size);
    while (changes-- > 0 && copy.size > 0) {
        size_t at = (size_t)below(copy.size);

        switch (below(5)) {
        case 0:
            copy.data[at] = (unsigned char)below(256);
            break;
        case 1:
            copy.data[at] ^= (unsigned char)(1u << below(8));
            break;
        case 2:
            copy.size = at;
            break;
        case 3: /* a byte goes */
            memmove(copy.data + at, copy.data + at + 1, copy.size - at - 1);
            copy.size--;
            break;
        default: /* what claims much */
            copy.data[at] = (unsigned char)(0xc4 + below(28));
        }
    }
    copy.data = realloc(copy.data, copy.size > 0 ? copy.size : 1);
    return copy;
}

static void put_part(struct message *message, const struct part *part)
{
    zmq_msg_t *to = &message->parts[message->part_count++];

    if (zmq_msg_init_size(to, part->size) != 0)
        stop("there is no memory");
    if (part->size > 0)
        memcpy(zmq_msg_data(to), part->data, part->size);
}

/* A client without sockets, whose session 1 is open and owed some frames and requests. */
static wp_client *in_conversation(void)
{
    static const unsigned char PIXELS_OF_FRAME[8];
    static const char TOKEN[] = "token";
    wp_client *client = calloc(1, sizeof *client);
    wp_session *session;
    wp_options options;
    int at;

    if (client == NULL)
        stop("there is no memory");
    wp_options_init(&options, sizeof options);
    options.width = 4;
    options.height = 2;
    options.pixels = options.result_pixels = WP_GRAY;
    client->address = strdup("nowhere");
    client->next_session = 1;
    client->up = true;
    client->reconnect_ms = -1;
    if (new_session(client, &options, &session) != WP_OK)
        stop(client->error);
    session->is_open = below(8) != 0;
    session->opened.token = TOKEN;
    session->window = 8;
    for (at = 0; at < 4; at++) {
        struct owed *owed = calloc(1, sizeof *owed);

        if (owed == NULL)
            stop("there is no memory");
        owed->is_frame = at != 2;
        owed->number = at;
        owed->parts.blobs[0] = new_blob(PIXELS_OF_FRAME, sizeof PIXELS_OF_FRAME);
        owed->parts.count = 1;
        add_owed(session, owed);
        session->answers[at].request = at;
        session->answers[at].state = WAITING;
    }
    return client;
}

static void hear(wp_client *client, const struct line *line, const struct part *header)
{
    struct message *message = calloc(1, sizeof *message);
    size_t sizes[16] = {0}, at;

    if (message == NULL)
        stop("there is no memory");
    put_part(message, header);
    for (at = 1; at < line->count; at++) {
        sizes[at - 1] = line->parts[at].size;
        if (at <= MAX_PAYLOADS)
            put_part(message, &line->parts[at]);
    }
    read_message(client, message, line->count, sizes);
    if (below(4) == 0)
        lost(client), client->up = true, connected(client);
    settle(client);
}

static void fuzz_line(const struct line *line, unsigned long rounds, unsigned long *taken, unsigned long *refused)
{
    wp_client *client = in_conversation();

    while (rounds-- > 0 && line->count > 0) {
        struct part header = spoilt(&line->parts[0]);

        if (line->tables == TO_CLIENT) {
            hear(client, line, &header);
            *(client->broken == WP_OK ? taken : refused) += 1;
            client->broken = WP_OK;
        } else {
            const struct table *tables[] = {TO_SERVER, TO_CLIENT};
            size_t sizes[16] = {0}, at;

            for (at = 0; at < 2; at++) {
                struct complaint complaint;
                msgpack_unpacked unpacked;
                int kind = parse(tables[at], header.data, header.size, sizes, line->count - 1, &unpacked, &complaint);

                *(kind >= 0 ? taken : refused) += 1;
                msgpack_unpacked_destroy(&unpacked);
            }
        }
        free(header.data);
        if (below(16) == 0) {
            wp_disconnect(client);
            client = in_conversation();
        }
    }
    wp_disconnect(client);
}

int main(int count, char **words)
{
    bool fuzzes = count == 4 && strcmp(words[1], "fuzz") == 0;
    unsigned long rounds = fuzzes ? strtoul(words[3], NULL, 10) : 0, taken = 0, refused = 0;
    char *text = NULL;
    size_t room = 0;

    if (!fuzzes && !(count == 2 && strcmp(words[1], "check") == 0))
        stop("say `check`, or `fuzz SEED ROUNDS`");
    if (fuzzes)
        chance = 2 * strtoull(words[2], NULL, 10) + 1;
    zone = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE);
    while (getline(&text, &room, stdin) > 0) {
        struct line line = read_line(text);

        if (fuzzes)
            fuzz_line(&line, rounds, &taken, &refused);
        else
            check_line(&line);
        free_line(&line);
    }
    free(text);
    msgpack_zone_free(zone);
    if (fuzzes)
        printf("%lu taken, %lu refused\n", taken, refused);
    return 0;
}
