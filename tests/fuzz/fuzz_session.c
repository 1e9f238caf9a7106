/* A script of frames, raw bytes, replies and resets into the session. Frames are made here with right CRCs and mostly
   the right session, digest and MAC, so that the fuzzer reaches what stands behind them. The session must keep its
   promises: a request is handed over whole, in bounds, once, never without a session key where the board has a key, and
   owes exactly one reply. The MAC is a CRC here: BLAKE2b has tests of its own. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define BODY_BYTES 900u
#define HEAD_BYTES 9u /* of an OPEN */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct line {
    const uint8_t *next, *end;
    struct tfl_decoder decoder;
    uint8_t out[TFL_FRAME_ENCODED_BYTES];
    uint32_t out_bytes;
};

struct board {
    struct line line;
    struct tfl_port port;
    struct tfl_session session;
    struct tfl_retained retained;
    struct tfl_auth auth;
    uint8_t *body;
    uint32_t last; /* counter of the last request of this session */
    uint16_t number;
};

void tfl_auth_mac(const struct tfl_auth *auth, uint8_t to_host, uint32_t counter, uint8_t type, const uint8_t *body,
                  uint32_t length, uint8_t mac[TFL_MAC_BYTES])
{
    uint32_t crc = tfl_crc32(auth->session[0] + counter * 8u + type * 2u + to_host, body, length);

    for (unsigned i = 0; i < TFL_MAC_BYTES; i++) {
        mac[i] = (uint8_t)(crc >> (8u * (i % 4u)));
    }
}

int tfl_auth_holds(const struct tfl_auth *auth, uint32_t counter, uint8_t type, const uint8_t *body, uint32_t length,
                   const uint8_t mac[TFL_MAC_BYTES])
{
    uint8_t expected[TFL_MAC_BYTES];

    tfl_auth_mac(auth, 0, counter, type, body, length, expected);
    return memcmp(mac, expected, sizeof expected) == 0;
}

static int line_read(void *context, uint8_t *data, size_t size)
{
    struct line *line = context;
    size_t count = (size_t)(line->end - line->next);

    count = count < size ? count : size;
    if (count > 0u) {
        memcpy(data, line->next, count);
        line->next += count;
    }
    return (int)count;
}

/* What the board sends must be frames, all of them for the host. */
static int line_write(void *context, const uint8_t *data, size_t size)
{
    struct line *line = context;
    struct tfl_frame frame;

    for (size_t i = 0; i < size; i++) {
        if (tfl_frame_decode(&line->decoder, data[i], &frame) && (frame.kind & 0xF8u) != 8u) {
            abort();
        }
    }
    if (line->decoder.skipped != 0u) {
        abort();
    }
    return (int)size;
}

/* Frames for the board: they go into a buffer. */
static int script_write(void *context, const uint8_t *data, size_t size)
{
    struct line *line = context;

    if (size > sizeof line->out - line->out_bytes) {
        abort();
    }
    memcpy(line->out + line->out_bytes, data, size);
    line->out_bytes += (uint32_t)size;
    return (int)size;
}

static void start(struct board *b)
{
    const struct tfl_session_config config = {&b->port, b->body, BODY_BYTES, &b->retained, &b->auth};

    b->auth.active = 0;
    b->number = 0;
    tfl_session_init(&b->session, &config);
}

static void reply(struct board *b, uint32_t length)
{
    if (tfl_session_reply(&b->session, TFL_MESSAGE_TRAINED, b->body, length) != 0 || tfl_session_busy(&b->session)) {
        abort();
    }
}

static void check_request(struct board *b, int type)
{
    const struct tfl_session *s = &b->session;
    volatile uint8_t sum = 0;

    if (!tfl_session_busy(s) || type != s->type || type > 0x7F || s->length > BODY_BYTES) {
        abort();
    }
    if (s->number == b->number && s->counter <= b->last) {
        abort(); /* counters only rise */
    }
    if (s->counter != 0u && b->auth.enrolled != b->auth.active) {
        abort(); /* a board with a key, but no key of this session */
    }
    for (uint32_t i = 0; i < s->length; i++) {
        sum = (uint8_t)(sum + s->content[i]);
    }
    b->last = s->counter;
    b->number = s->number;
}

static void poll(struct board *b)
{
    int type;

    while ((type = tfl_session_poll(&b->session)) > 0) {
        check_request(b, type);
        if (type == TFL_MESSAGE_HELLO && b->session.counter == 0u) {
            b->auth.active = b->auth.enrolled != 0u && b->session.length < 40u; /* a longer one is refused */
            b->auth.session[0]++;
            if (tfl_session_reply(&b->session, TFL_MESSAGE_WELCOME, b->session.brief, TFL_WELCOME_BYTES) != 0) {
                abort();
            }
        } else if (type != TFL_MESSAGE_TRAIN) { /* a long job: a REPLY of the script ends it */
            reply(b, b->session.length > 0u ? b->session.content[0] * 3u : 0u);
        }
    }
    if (type < 0) {
        abort();
    }
}

enum flags { ANY_SESSION = 1, FITTING = 2, NO_MAC = 4, ZEROS = 8, SMALL = 16, OTHER_DIGEST = 32 };

static void store32(uint8_t *p, uint32_t x)
{
    for (unsigned i = 0; i < 4u; i++) {
        p[i] = (uint8_t)(x >> (8u * i));
    }
}

static uint32_t put_mac(const struct board *b, uint8_t message, unsigned flags, uint8_t type, const uint8_t *body,
                        uint32_t length, uint8_t *mac)
{
    uint32_t counter = b->session.counter + ((message - b->session.counter) & 0xFFu);

    if (b->auth.active == 0u || message == 0u || (flags & NO_MAC) != 0u) {
        return 0;
    }
    tfl_auth_mac(&b->auth, 0, counter, type, body, length, mac);
    return TFL_MAC_BYTES;
}

/* What a fuzzer would not guess: lengths, digests and MACs that agree. Returns the length of the payload. */
static uint32_t make_fit(const struct board *b, const struct tfl_frame *frame, unsigned flags, uint8_t unit,
                         uint8_t *payload, uint32_t length)
{
    static const uint8_t zeros[BODY_BYTES];
    uint32_t whole = unit * 5u < BODY_BYTES ? unit * 5u : BODY_BYTES, mac;
    uint8_t body[TFL_CHUNK];

    switch (frame->kind & 7u) {
    case TFL_FRAME_WHOLE:
        memcpy(body, payload + 1, TFL_CHUNK - 1u);
        length = length < TFL_CHUNK ? length : TFL_CHUNK - 1u;
        mac = put_mac(b, frame->message, flags, payload[0], body, length, payload + 1);
        memcpy(payload + 1 + mac, body, length);
        return 1u + mac + length;
    case TFL_FRAME_OPEN:
        store32(payload + 1, whole);
        store32(payload + 5, tfl_crc32((flags & OTHER_DIGEST) != 0u ? 1u : 0u, zeros, whole));
        return HEAD_BYTES + put_mac(b, frame->message, flags, payload[0], zeros, whole, payload + HEAD_BYTES);
    case TFL_FRAME_DATA:
        unit %= 16u;
        payload[0] = unit;
        payload[1] = 0;
        memset(payload + 2, 0, (flags & ZEROS) != 0u ? TFL_CHUNK : 0u);
        length = b->retained.length > unit * TFL_UNIT ? b->retained.length - unit * TFL_UNIT : 0u;
        whole = (flags & SMALL) != 0u ? TFL_UNIT : TFL_CHUNK;
        return 2u + (length < whole ? length : whole);
    default:
        return length;
    }
}

/* kind, message, session, unit, flags, payload length, payload: returns what is left. */
static size_t send_frame(struct board *b, const uint8_t *data, size_t size)
{
    const struct tfl_port script = {.context = &b->line, .write = script_write};
    uint8_t payload[TFL_PAYLOAD_BYTES + TFL_CHUNK];
    struct tfl_frame frame = {data[0], data[1], (data[4] & ANY_SESSION) != 0u ? data[2] : 1u, NULL, 0};
    uint32_t length = data[5], take = (uint32_t)size - 6u;
    struct tfl_encoder encoder;

    take = take < length ? take : length;
    memset(payload, 0, sizeof payload);
    memcpy(payload, data + 6, take);
    if ((data[4] & FITTING) != 0u) {
        length = make_fit(b, &frame, data[4], data[3], payload, length);
    }
    b->line.out_bytes = 0;
    tfl_frame_begin(&encoder, &script, &frame, 0);
    tfl_frame_add(&encoder, payload, length);
    if (tfl_frame_end(&encoder) != 0) {
        abort();
    }
    b->line.next = b->line.out;
    b->line.end = b->line.out + b->line.out_bytes;
    poll(b);
    return size - 6u - take;
}

static size_t step(struct board *b, const uint8_t *data, size_t size)
{
    switch (data[0]) {
    case 0xF0: /* the job is done */
        reply(b, data[1] * 3u);
        return size - 2u;
    case 0xF1: /* raw bytes */
        b->line.next = data + 1;
        b->line.end = data + 8;
        poll(b);
        return size - 8u;
    case 0xF2: /* a reset; a byte of what it leaves may have changed */
        if ((data[1] & 1u) != 0u) {
            ((uint8_t *)&b->retained)[data[2] % sizeof b->retained] = data[3];
            b->body[data[4]] = data[5];
        }
        start(b);
        return size - 6u;
    default:
        return send_frame(b, data, size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct board *b = calloc(1, sizeof *b);

    if (b != NULL && size > 0u && (b->body = malloc(BODY_BYTES)) != NULL) {
        memset(b->body, 0, BODY_BYTES);
        b->port.context = &b->line;
        b->port.read = line_read;
        b->port.write = line_write;
        b->auth.enrolled = data[0] & 1u;
        start(b);
        for (size_t left = size - 1u; left > 8u;) {
            left = step(b, data + size - left, left);
        }
        free(b->body);
    }
    free(b);
    return 0;
}
