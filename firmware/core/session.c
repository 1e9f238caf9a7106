#include "session.h"

#include <string.h>

#include "fixed.h"

#define KIND_MASK 7u
#define KIND_TO_HOST 8u    /* set in the kinds of all that the board sends */
#define TYPE_TO_HOST 0x80u /* set in the types of replies */
#define OPEN_BYTES 9u      /* type, length and digest, before the MAC of an OPEN */
#define UNIT_BYTES 2u      /* the number of a unit, before the rest of a DATA or an ACK */
#define UNIT_ALL 0xFFFFu   /* in an ACK: all is here */
#define UNIT_NONE 0xFFFEu  /* in an ACK: nothing of this message has come */
#define ACK_BITMAP_BYTES 32u
#define MOST_AHEAD 127u /* a message is further ahead only where it is late */

static void forget(struct tfl_session *s)
{
    tfl_retained_forget(s->retained);
    s->received = 0;
}

/* What is sent. */

static struct tfl_frame frame_of(const struct tfl_session *s, uint8_t kind, const uint8_t *payload, uint32_t length)
{
    uint8_t message = (uint8_t)(s->counter & 0xFFu);
    struct tfl_frame frame = {(uint8_t)(kind | KIND_TO_HOST), message, s->number, payload, length};

    return frame;
}

/* The payload comes in two pieces: the frame's and the tail. The encoder's buffer lies on the stack once, here. */
TFL_NOINLINE static int send_frame(const struct tfl_session *s, const struct tfl_frame *frame, int zero,
                                   const uint8_t *tail, uint32_t tail_size)
{
    struct tfl_encoder encoder;

    tfl_frame_begin(&encoder, s->port, frame, zero);
    tfl_frame_add(&encoder, frame->payload, frame->length);
    tfl_frame_add(&encoder, tail, tail_size);
    return tfl_frame_end(&encoder);
}

static int send_nothing_came(const struct tfl_session *s, uint8_t message)
{
    uint8_t payload[UNIT_BYTES];
    struct tfl_frame frame = frame_of(s, TFL_FRAME_ACK, payload, sizeof payload);

    frame.message = message;
    tfl_store16_le(payload, UNIT_NONE);
    return send_frame(s, &frame, 1, NULL, 0);
}

/* Which units of the request have come; all of them once it was handed over. */
static int send_ack(const struct tfl_session *s, int zero)
{
    uint8_t payload[UNIT_BYTES + ACK_BITMAP_BYTES] = {0};
    struct tfl_frame frame = frame_of(s, TFL_FRAME_ACK, payload, UNIT_BYTES);
    const uint8_t *bitmap = s->retained->bitmap;
    uint32_t total = tfl_units(s->retained->length), gap = 0;

    if (s->state != TFL_SESSION_RECEIVING) {
        tfl_store16_le(payload, UNIT_ALL);
        return send_frame(s, &frame, zero, NULL, 0);
    }
    while (gap < total && tfl_bit(bitmap, gap)) {
        gap++;
    }
    tfl_store16_le(payload, (uint16_t)gap);
    total = tfl_least(total, gap + 1u + 8u * ACK_BITMAP_BYTES);
    for (uint32_t i = gap + 1u; i < total; i++) {
        if (tfl_bit(bitmap, i)) {
            tfl_bit_set(payload + UNIT_BYTES, i - gap - 1u);
            frame.length = UNIT_BYTES + (i - gap - 1u) / 8u + 1u;
        }
    }
    return send_frame(s, &frame, zero, NULL, 0);
}

/* Bytes of the MAC in a WHOLE or OPEN. A board with a key takes nothing without it; HELLO and its answer have none. */
static uint32_t mac_bytes(const struct tfl_session *s, uint32_t counter)
{
    return s->auth != NULL && (s->auth->enrolled | s->auth->active) != 0u && counter != 0u ? TFL_MAC_BYTES : 0u;
}

static int reply_is_whole(const struct tfl_session *s)
{
    return s->length <= s->chunk;
}

/* The reply's WHOLE or OPEN. */
static int send_head(const struct tfl_session *s, int zero)
{
    uint8_t payload[OPEN_BYTES + TFL_MAC_BYTES];
    struct tfl_frame frame = frame_of(s, TFL_FRAME_WHOLE, payload, 1);
    int whole = reply_is_whole(s);

    payload[0] = s->type;
    if (!whole) {
        frame.kind = TFL_FRAME_OPEN | KIND_TO_HOST;
        frame.length = OPEN_BYTES;
        tfl_store32_le(payload + 1, s->length);
        tfl_store32_le(payload + 5, tfl_crc32(0, s->content, s->length));
    }
    memcpy(payload + frame.length, s->mac, mac_bytes(s, s->counter));
    frame.length += mac_bytes(s, s->counter);
    return send_frame(s, &frame, zero, s->content, whole ? s->length : 0u);
}

#define BEFORE_ALL UINT32_MAX /* the unit before unit 0: the bitmap behind it tells of all */

/* The reply's units from `first` on, but for those behind it that are in the host's bitmap of so many bytes. */
static int send_missing(const struct tfl_session *s, uint32_t first, const uint8_t *bitmap, uint32_t bytes, int zero)
{
    uint32_t total = tfl_units(s->length), end, size;
    int status = 0;

    for (uint32_t i = first == BEFORE_ALL ? 0u : first; i < total && status >= 0; i = end) {
        uint8_t number[UNIT_BYTES];
        struct tfl_frame frame = frame_of(s, TFL_FRAME_DATA, number, sizeof number);

        end = i;
        while (end < total && end - i < s->chunk / TFL_UNIT &&
               (end == first || (end - first - 1u) / 8u >= bytes || !tfl_bit(bitmap, end - first - 1u))) {
            end++;
        }
        if (end == i) {
            end++; /* the host has this one */
            continue;
        }
        tfl_store16_le(number, (uint16_t)i);
        size = tfl_least(end * TFL_UNIT, s->length) - i * TFL_UNIT;
        status = send_frame(s, &frame, zero, s->content + i * TFL_UNIT, size);
    }
    return status;
}

/* The whole reply, but for the units that are in the host's bitmap. */
static int send_reply(const struct tfl_session *s, const uint8_t *bitmap, uint32_t bytes, int zero)
{
    int status = send_head(s, zero);

    return status < 0 || reply_is_whole(s) ? status : send_missing(s, BEFORE_ALL, bitmap, bytes, zero);
}

/* A frame of the current message came again: say how far it is. */
static int repeat(const struct tfl_session *s)
{
    return s->state == TFL_SESSION_REPLIED ? send_head(s, 1) : send_ack(s, 1);
}

/* What is received. */

static int refuse(struct tfl_session *s, int status, uint32_t detail)
{
    struct tfl_msg_error error = {(int8_t)status, detail};

    s->state = TFL_SESSION_WORKING;
    s->taken = s->counter;
    return tfl_session_reply(s, TFL_MESSAGE_ERROR, s->brief, tfl_error_encode(&error, s->brief));
}

static int hand_over(struct tfl_session *s, uint8_t type, const uint8_t *content, uint32_t length)
{
    if (type != TFL_MESSAGE_HELLO) {
        forget(s); /* the reply takes the body */
    }
    s->state = TFL_SESSION_WORKING;
    s->taken = s->counter;
    s->type = type;
    s->content = content;
    s->length = length;
    return type;
}

/* 1 where the message carries its MAC, or needs none. */
static int authentic(const struct tfl_session *s, uint32_t counter, uint8_t type, const uint8_t *body, uint32_t length,
                     const uint8_t *mac)
{
    if (mac_bytes(s, counter) == 0u) {
        return 1;
    }
    return s->auth->active != 0u && tfl_auth_holds(s->auth, counter, type, body, length, mac);
}

/* The request is as if it had never come; the host sends all of it again. */
static int drop(struct tfl_session *s)
{
    uint8_t message = (uint8_t)(s->counter & 0xFFu);

    forget(s);
    s->state = TFL_SESSION_IDLE;
    s->counter = s->taken;
    return send_nothing_came(s, message);
}

/* All bytes are there: hand the request over, once. */
static int complete(struct tfl_session *s)
{
    const struct tfl_retained *r = s->retained;
    uint32_t digest = r->digest;
    int type, status;

    if (!authentic(s, s->counter, (uint8_t)r->type, s->body, r->length, s->mac)) {
        return drop(s);
    }
    if (tfl_crc32(0, s->body, r->length) != digest) {
        if (s->resumed != 0u) {
            return drop(s);
        }
        forget(s);
        return refuse(s, TFL_ERROR_DIGEST, digest);
    }
    type = hand_over(s, (uint8_t)r->type, s->body, r->length);
    status = send_ack(s, 0);
    return status < 0 ? status : type;
}

static int advance(struct tfl_session *s)
{
    return s->received == tfl_units(s->retained->length) ? complete(s) : send_ack(s, 0);
}

/* Why the board cannot take a new message of this type and length; 0: it can. */
static int objection(const struct tfl_session *s, uint8_t type, uint32_t length)
{
    if (length > s->body_bytes) {
        return TFL_ERROR_SPACE;
    }
    return type == 0u ? TFL_ERROR_TYPE : 0; /* poll could not announce it */
}

static int refuse_new(struct tfl_session *s, int status)
{
    return refuse(s, status, status == TFL_ERROR_SPACE ? s->body_bytes : 0u);
}

static int take_whole(struct tfl_session *s, const struct tfl_frame *f, uint32_t counter)
{
    uint32_t head = 1u + mac_bytes(s, counter);
    uint8_t type = f->payload[0];
    int status;

    if (f->length < head || (type & TYPE_TO_HOST) != 0u ||
        !authentic(s, counter, type, f->payload + head, f->length - head, f->payload + 1)) {
        return 0;
    }
    s->counter = counter;
    status = objection(s, type, f->length - head);
    return status != 0 ? refuse_new(s, status) : hand_over(s, type, f->payload + head, f->length - head);
}

static int take_open(struct tfl_session *s, const struct tfl_frame *f, uint32_t counter)
{
    struct tfl_retained *r = s->retained;
    uint32_t mac = mac_bytes(s, counter), length, digest;
    uint8_t type = f->payload[0];
    int status;

    if (f->length != OPEN_BYTES + mac || (type & TYPE_TO_HOST) != 0u || (mac != 0u && s->auth->active == 0u)) {
        return 0;
    }
    length = tfl_load32_le(f->payload + 1);
    digest = tfl_load32_le(f->payload + 5);
    status = objection(s, type, length);
    if (status != 0 && mac != 0u) {
        return 0; /* nobody knows yet whose this is: a reply would put the board's MAC under a stranger's request */
    }
    s->counter = counter;
    if (status != 0) {
        return refuse_new(s, status);
    }
    if (r->type != type || r->length != length || r->digest != digest) {
        tfl_retained_begin(r, type, length, digest);
        s->received = 0;
    }
    memcpy(s->mac, f->payload + OPEN_BYTES, mac);
    s->resumed = s->received != 0u;
    s->state = TFL_SESSION_RECEIVING;
    return advance(s);
}

static int take_data(struct tfl_session *s, const struct tfl_frame *f)
{
    struct tfl_retained *r = s->retained;
    uint32_t unit, rest, size = f->length - UNIT_BYTES;

    if (s->state != TFL_SESSION_RECEIVING) {
        return repeat(s);
    }
    if (f->length <= UNIT_BYTES) {
        return 0;
    }
    unit = tfl_load16_le(f->payload);
    if (unit >= tfl_units(r->length)) {
        return 0;
    }
    rest = r->length - unit * TFL_UNIT;
    if (size > rest || (size % TFL_UNIT != 0u && size != rest)) {
        return 0;
    }
    s->received = (uint16_t)(s->received + tfl_retained_add(r, s->body, unit, f->payload + UNIT_BYTES, size));
    return advance(s);
}

/* The host asks. */
static int take_ack(const struct tfl_session *s, const struct tfl_frame *f)
{
    const uint8_t *bitmap = f->payload + UNIT_BYTES;
    uint32_t unit, bytes = f->length - UNIT_BYTES;

    if (s->state != TFL_SESSION_REPLIED) {
        return send_ack(s, 1);
    }
    unit = tfl_load16_le(f->payload);
    return unit == UNIT_NONE ? send_reply(s, bitmap, bytes, 1) : send_missing(s, unit, bitmap, bytes, 1);
}

/* A message behind the current one. Only after 2^32 of them would a counter come again: the session ends before. */
static int take_new(struct tfl_session *s, const struct tfl_frame *f, uint32_t ahead)
{
    if (s->counter > UINT32_MAX - MOST_AHEAD) {
        return 0;
    }
    switch (f->kind & KIND_MASK) {
    case TFL_FRAME_WHOLE:
        return take_whole(s, f, s->counter + ahead);
    case TFL_FRAME_OPEN:
        return take_open(s, f, s->counter + ahead);
    case TFL_FRAME_DATA:
    case TFL_FRAME_ACK:
        return send_nothing_came(s, f->message);
    default:
        return 0;
    }
}

static int take_current(struct tfl_session *s, const struct tfl_frame *f)
{
    switch (f->kind & KIND_MASK) {
    case TFL_FRAME_WHOLE:
    case TFL_FRAME_OPEN:
        return (f->payload[0] & TYPE_TO_HOST) == 0u ? repeat(s) : 0;
    case TFL_FRAME_DATA:
        return take_data(s, f);
    case TFL_FRAME_ACK:
        return f->length >= UNIT_BYTES ? take_ack(s, f) : 0;
    default:
        return 0;
    }
}

static void take_wish(struct tfl_session *s, const struct tfl_frame *f)
{
    uint32_t units = f->kind >> 4;

    if (units != 0u) {
        s->chunk = (uint16_t)tfl_least(units * TFL_UNIT, TFL_CHUNK);
    }
}

/* A frame of this session. Older messages are late repeats: ignored. */
static int take_own(struct tfl_session *s, const struct tfl_frame *f)
{
    uint32_t ahead = (f->message - s->counter) & 0xFFu;

    if (ahead > MOST_AHEAD || f->length == 0u) {
        return 0;
    }
    take_wish(s, f);
    if (ahead > 0u) {
        return take_new(s, f, ahead);
    }
    return s->state == TFL_SESSION_IDLE ? 0 : take_current(s, f);
}

static int is_hello(const struct tfl_session *s, const struct tfl_frame *f)
{
    return (f->kind & KIND_MASK) == TFL_FRAME_WHOLE && f->session != 0u && f->session != s->previous &&
           f->message == 0u && f->length > 0u && f->payload[0] == TFL_MESSAGE_HELLO;
}

static int open_session(struct tfl_session *s, const struct tfl_frame *f)
{
    s->previous = s->number;
    s->number = f->session;
    s->state = TFL_SESSION_IDLE;
    s->chunk = TFL_CHUNK;
    if (s->auth != NULL) {
        s->auth->active = 0;
    }
    take_wish(s, f);
    return take_whole(s, f, 0);
}

static int take_frame(struct tfl_session *s, const struct tfl_frame *f)
{
    struct tfl_frame reset = {TFL_FRAME_RESET | KIND_TO_HOST, f->message, f->session, NULL, 0};
    uint8_t kind = f->kind & KIND_MASK;

    if ((f->kind & KIND_TO_HOST) != 0u) {
        return 0; /* an echo of our own */
    }
    if (s->number != 0u && f->session == s->number) {
        return take_own(s, f);
    }
    if (is_hello(s, f)) {
        return open_session(s, f);
    }
    if (kind >= TFL_FRAME_WHOLE && kind <= TFL_FRAME_ACK) {
        return send_frame(s, &reset, 1, NULL, 0);
    }
    return 0;
}

void tfl_session_init(struct tfl_session *s, const struct tfl_session_config *config)
{
    memset(s, 0, sizeof *s);
    s->port = config->port;
    s->body = config->body;
    s->body_bytes = tfl_least(config->body_bytes, TFL_MAX_UNITS * TFL_UNIT);
    s->retained = config->retained;
    s->auth = config->auth;
    s->chunk = TFL_CHUNK;
    s->received = (uint16_t)tfl_retained_recall(s->retained, s->body, s->body_bytes);
}

int tfl_session_poll(struct tfl_session *s)
{
    struct tfl_frame frame;
    int status;

    for (;;) {
        while (s->input_next < s->input_end) {
            if (tfl_frame_decode(&s->decoder, s->input[s->input_next++], &frame)) {
                status = take_frame(s, &frame);
                if (status != 0) {
                    return status;
                }
            }
        }
        status = s->port->read(s->port->context, s->input, sizeof s->input);
        if (status <= 0) {
            return status;
        }
        s->input_next = 0;
        s->input_end = (uint8_t)status;
    }
}

int tfl_session_reply(struct tfl_session *s, uint8_t type, const uint8_t *body, uint32_t length)
{
    if (s->state != TFL_SESSION_WORKING) {
        return 0;
    }
    s->type = type;
    s->content = body;
    s->length = length;
    s->state = TFL_SESSION_REPLIED;
    if (mac_bytes(s, s->counter) != 0u) {
        tfl_auth_mac(s->auth, 1, s->counter, type, body, length, s->mac);
    }
    return send_reply(s, NULL, 0, s->counter == 0u);
}

int tfl_session_log(const struct tfl_session *s, const char *text, uint32_t length)
{
    struct tfl_frame frame = {TFL_FRAME_LOG | KIND_TO_HOST, 0, 0, NULL, 0};

    return send_frame(s, &frame, 1, (const uint8_t *)text, tfl_least(length, TFL_CHUNK));
}
