/* Who may give a board orders: a script of handshakes, of messages that the host made, and of what an attacker makes of
   them and of anything else. The board must take what the host sealed in this session, each at most once and in rising
   order, and nothing besides; and it must seal no reply to anything else. The fuzzer has no key: what else is taken is a
   hole. */
#include <stdlib.h>
#include <string.h>

#include "fixed.h"
#include "session.h"

#define BODY_BYTES 700u
#define SEALED 8u
#define LINE_BYTES 2048u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum operation { HELLO, SEND, CHANGE, RENUMBER, REPLAY, ANYTHING, RAW, REPLY, OPERATIONS };

/* What the host made, as frames; `fresh` until the board has taken it. */
struct sealed {
    uint8_t bytes[LINE_BYTES];
    uint8_t body[BODY_BYTES], mac[TFL_MAC_BYTES];
    uint32_t size, length, counter;
    uint16_t session;
    uint8_t type, fresh;
};

struct world {
    struct tfl_session board;
    struct tfl_auth auth, host; /* the host's copy: its session key is the board's */
    struct tfl_retained retained;
    struct sealed sealed[SEALED];
    struct tfl_port port;
    uint8_t body[BODY_BYTES], line[LINE_BYTES];
    uint32_t next, end; /* of what is on the line */
    struct tfl_decoder sent; /* what the board says */
    uint32_t hellos, counter, taken, made;
    uint16_t number; /* of the host's session */
};

static int line_read(void *context, uint8_t *data, size_t size)
{
    struct world *w = context;
    size_t count = w->end - w->next;

    count = count < size ? count : size;
    memcpy(data, w->line + w->next, count);
    w->next += (uint32_t)count;
    return (int)count;
}

/* A reply answers the last message that the board took. */
static int line_write(void *context, const uint8_t *data, size_t size)
{
    struct world *w = context;
    struct tfl_frame frame;

    for (size_t i = 0; i < size; i++) {
        if (tfl_frame_decode(&w->sent, data[i], &frame) && (frame.kind & 7u) <= TFL_FRAME_OPEN &&
            frame.session == w->number && frame.message != (w->taken & 0xFFu)) {
            abort();
        }
    }
    return (int)size;
}

static int sealed_write(void *context, const uint8_t *data, size_t size)
{
    struct sealed *s = context;

    if (size > sizeof s->bytes - s->size) {
        abort();
    }
    memcpy(s->bytes + s->size, data, size);
    s->size += (uint32_t)size;
    return (int)size;
}

static void put(struct sealed *s, uint8_t kind, uint32_t message, const uint8_t *payload, uint32_t length)
{
    struct tfl_port port = {.context = s, .write = sealed_write};
    struct tfl_frame frame = {kind, (uint8_t)(message & 0xFFu), s->session, NULL, 0};
    struct tfl_encoder encoder;

    tfl_frame_begin(&encoder, &port, &frame, 1);
    tfl_frame_add(&encoder, payload, length);
    if (tfl_frame_end(&encoder) != 0) {
        abort();
    }
}

/* The message's WHOLE, or its OPEN and DATA. */
static void frames(struct sealed *s, uint32_t whole)
{
    uint8_t payload[TFL_PAYLOAD_BYTES];
    uint32_t part, at = 1;

    s->size = 0;
    payload[0] = s->type;
    if (!whole) {
        tfl_store32_le(payload + 1, s->length);
        tfl_store32_le(payload + 5, tfl_crc32(0, s->body, s->length));
        at = 9;
    }
    memcpy(payload + at, s->mac, sizeof s->mac);
    at += sizeof s->mac;
    if (whole) {
        memcpy(payload + at, s->body, s->length);
        put(s, TFL_FRAME_WHOLE, s->counter, payload, at + s->length);
        return;
    }
    put(s, TFL_FRAME_OPEN, s->counter, payload, at);
    for (uint32_t i = 0; i < s->length; i += part) {
        part = tfl_least(2u * TFL_UNIT, s->length - i);
        tfl_store16_le(payload, (uint16_t)(i / TFL_UNIT));
        memcpy(payload + 2, s->body + i, part);
        put(s, TFL_FRAME_DATA, s->counter, payload, 2u + part);
    }
}

/* What the board took must be what the host made, for this session and place, and not yet taken. */
static void check(struct world *w)
{
    const struct tfl_session *b = &w->board;

    for (uint32_t i = 0; i < SEALED; i++) {
        struct sealed *s = &w->sealed[i];

        if (s->fresh && s->session == b->number && s->counter == b->counter && s->type == b->type &&
            s->length == b->length && memcmp(s->body, b->content, b->length) == 0) {
            if (b->counter <= w->taken) {
                abort();
            }
            s->fresh = 0;
            w->taken = b->counter;
            return;
        }
    }
    abort();
}

/* The board's program: a WELCOME as greeting.c writes it, DONE to the rest. */
static void answer(struct world *w, int type)
{
    struct tfl_session *b = &w->board;
    uint32_t length = 0;

    if (type == TFL_MESSAGE_HELLO && b->counter == 0u) {
        struct sealed hello;

        hello.length = tfl_least(b->length, BODY_BYTES);
        memcpy(hello.body, b->content, hello.length);
        memset(b->brief, 0, TFL_WELCOME_BYTES);
        tfl_auth_nonce(&w->auth, 1, ++w->hellos, 0, b->brief + TFL_WELCOME_BYTES - 32u);
        tfl_auth_welcome(&w->auth, hello.body, hello.length, b->brief, TFL_WELCOME_BYTES);
        w->host = w->auth;
        w->counter = w->taken = 0;
        w->number = b->number;
        length = TFL_WELCOME_BYTES;
    } else {
        check(w);
        if (type == TFL_MESSAGE_TRAIN) {
            return; /* a job: REPLY ends it */
        }
    }
    if (tfl_session_reply(b, type == TFL_MESSAGE_HELLO ? TFL_MESSAGE_WELCOME : TFL_MESSAGE_DONE, b->brief, length) != 0) {
        abort();
    }
}

static void deliver(struct world *w, const uint8_t *bytes, uint32_t size)
{
    int type;

    memcpy(w->line, bytes, size);
    w->next = 0;
    w->end = size;
    while ((type = tfl_session_poll(&w->board)) > 0) {
        answer(w, type);
    }
    if (type < 0) {
        abort();
    }
}

/* The host's next message, from its own session's key. */
static struct sealed *make(struct world *w, const uint8_t *data, uint32_t size)
{
    struct sealed *s = &w->sealed[w->made++ % SEALED];

    memset(s, 0, sizeof *s);
    s->session = w->number;
    s->counter = ++w->counter;
    s->type = data[0] % 9u + TFL_MESSAGE_HEAD;
    s->length = tfl_least(size * (1u + data[1] % 8u), BODY_BYTES);
    for (uint32_t i = 0; i < s->length; i++) {
        s->body[i] = data[i % size];
    }
    s->fresh = 1;
    tfl_auth_mac(&w->host, 0, s->counter, s->type, s->body, s->length, s->mac);
    frames(s, s->length <= TFL_CHUNK && (data[1] & 8u) == 0u);
    return s;
}

/* Frames of a session that nobody sealed: a HELLO, or any type with any MAC. */
static void forge(struct world *w, uint8_t kind, uint16_t session, uint32_t message, const uint8_t *data, uint32_t size)
{
    static struct sealed s;

    s.size = 0;
    s.session = session;
    put(&s, kind, message, data, tfl_least(size, TFL_PAYLOAD_BYTES));
    deliver(w, s.bytes, s.size);
}

static void hello(struct world *w, const uint8_t *data, uint32_t size)
{
    uint8_t payload[1u + TFL_HELLO_BYTES] = {TFL_MESSAGE_HELLO};

    memcpy(payload + 1, data, tfl_least(size, TFL_HELLO_BYTES));
    forge(w, TFL_FRAME_WHOLE, (uint16_t)(w->number + 1u + data[0] % 4u), 0, payload, sizeof payload);
}

/* The same message with one byte changed, behind right CRCs. */
static void change(struct world *w, const struct sealed *s, const uint8_t *data)
{
    static struct sealed copy;
    uint8_t delta = data[3] == 0u ? 1u : data[3];
    uint32_t at = data[2];

    copy = *s;
    if (at < TFL_MAC_BYTES) {
        copy.mac[at] ^= delta;
    } else if (at == TFL_MAC_BYTES || s->length == 0u) {
        copy.type = (uint8_t)((s->type ^ delta) & 0x7Fu);
    } else {
        copy.body[at % s->length] ^= delta;
    }
    frames(&copy, s->length <= TFL_CHUNK);
    deliver(w, copy.bytes, copy.size);
}

/* The same frames under another number: a counter that it was not sealed for. */
static void renumber(struct world *w, const struct sealed *s, const uint8_t *data)
{
    static struct sealed copy;

    copy = *s;
    copy.counter = s->counter + data[2];
    copy.session = w->number;
    frames(&copy, s->length <= TFL_CHUNK);
    deliver(w, copy.bytes, copy.size);
}

/* One operation of up to 40 bytes of the script; data[1] also chooses an older message. */
static void step(struct world *w, const uint8_t *data, uint32_t size)
{
    struct sealed *old = &w->sealed[data[1] % SEALED];

    switch (data[0] % OPERATIONS) {
    case HELLO:
        hello(w, data + 1, size - 1u);
        break;
    case SEND:
        old = make(w, data + 1, size - 1u);
        deliver(w, old->bytes, old->size);
        break;
    case CHANGE:
        change(w, (data[1] & 64u) != 0u ? make(w, data + 1, size - 1u) : old, data);
        break;
    case RENUMBER:
        renumber(w, old, data);
        break;
    case REPLAY:
        deliver(w, old->bytes, old->size);
        break;
    case ANYTHING:
        forge(w, data[1], w->number, data[2], data + 3, size - 3u);
        break;
    case RAW:
        deliver(w, data + 1, size - 1u);
        break;
    default:
        if (tfl_session_reply(&w->board, TFL_MESSAGE_TRAINED, w->board.brief, data[1] % 64u) != 0) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[TFL_KEY_BYTES] = {1, 2, 3};
    static struct world w;
    const struct tfl_session_config config = {&w.port, w.body, BODY_BYTES, &w.retained, &w.auth};

    memset(&w, 0, sizeof w);
    w.port.context = &w;
    w.port.read = line_read;
    w.port.write = line_write;
    w.number = 7;
    tfl_auth_init(&w.auth, key);
    tfl_session_init(&w.board, &config);
    while (size >= 5u) {
        uint32_t take = tfl_least((uint32_t)size, 40u);

        step(&w, data, take);
        data += take;
        size -= take;
    }
    return 0;
}
