#include "session.h"

#include <string.h>

#include "fixed.h"

#define OPEN_BYTES 5u       /* type and digest, before the body of an OPEN */
#define HOST_CREDITS 0xFFu  /* in every ACK of a host: an ACK of our own, echoed by the link, is none */
#define TYPE_TO_HOST 0x80u  /* set in the types of replies */

static uint32_t chunks_of(uint32_t length)
{
    return (length + TFL_CHUNK - 1u) / TFL_CHUNK;
}

/* Of the chunk at offset, which is within the body. */
static uint32_t chunk_bytes(const struct tfl_session *s, uint32_t offset)
{
    uint32_t rest = s->length - offset;

    return rest < TFL_CHUNK ? rest : TFL_CHUNK;
}

static int bit(const uint8_t *bitmap, uint32_t i)
{
    return bitmap[i / 8u] >> (i % 8u) & 1;
}

/* The payload comes in two pieces. */
static int send_frame(const struct tfl_session *s, const struct tfl_frame *frame, const uint8_t *head, uint32_t head_size,
                      const uint8_t *tail, uint32_t tail_size)
{
    uint8_t out[TFL_FRAME_ENCODED_BYTES];
    struct tfl_encoder encoder;
    int sent;

    tfl_frame_begin(&encoder, out, frame);
    tfl_frame_add(&encoder, head, head_size);
    tfl_frame_add(&encoder, tail, tail_size);
    sent = s->port->write(s->port->context, out, tfl_frame_end(&encoder));
    return sent < 0 ? sent : 0;
}

static struct tfl_frame header(const struct tfl_session *s, uint8_t kind, uint32_t offset)
{
    struct tfl_frame frame = {kind, s->message, s->number, offset, NULL, 0};

    return frame;
}

/* Which chunks of the request have come; all of them once it was handed over. */
static int send_ack(const struct tfl_session *s)
{
    uint8_t payload[1u + sizeof s->bitmap] = {TFL_CREDITS};
    uint32_t total = chunks_of(s->length), gap = 0, used = 0;
    struct tfl_frame frame = header(s, TFL_FRAME_ACK, s->length);

    while (gap < total && bit(s->bitmap, gap)) {
        gap++;
    }
    if (s->state == TFL_SESSION_RECEIVING && gap < total) {
        frame.offset = gap * TFL_CHUNK;
        for (uint32_t i = gap; i < total; i++) {
            if (bit(s->bitmap, i)) {
                used = (i - gap) / 8u + 1u;
                payload[used] = (uint8_t)(payload[used] | 1u << ((i - gap) % 8u));
            }
        }
    }
    return send_frame(s, &frame, payload, 1u + used, NULL, 0);
}

static int fits_open(uint32_t length)
{
    return length <= TFL_CHUNK - OPEN_BYTES;
}

static int send_open(const struct tfl_session *s)
{
    uint8_t payload[OPEN_BYTES];
    struct tfl_frame frame = header(s, TFL_FRAME_OPEN, s->length);

    payload[0] = s->type;
    tfl_store32_le(payload + 1, s->digest);
    return send_frame(s, &frame, payload, sizeof payload, s->body, fits_open(s->length) ? s->length : 0u);
}

/* The chunks of the reply from offset on, but for those in the host's bitmap. */
static int send_missing(const struct tfl_session *s, uint32_t offset, const uint8_t *bitmap, uint32_t bytes)
{
    uint32_t first = offset / TFL_CHUNK;
    uint32_t total = fits_open(s->length) ? 0u : chunks_of(s->length);

    for (uint32_t i = first; i < total; i++) {
        struct tfl_frame frame = header(s, TFL_FRAME_DATA, i * TFL_CHUNK);
        int status;

        if ((i - first) / 8u < bytes && bit(bitmap, i - first)) {
            continue;
        }
        status = send_frame(s, &frame, s->body + frame.offset, chunk_bytes(s, frame.offset), NULL, 0);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/* A frame of the current message came again: say how far it is. */
static int repeat(const struct tfl_session *s)
{
    return s->state == TFL_SESSION_REPLIED ? send_open(s) : send_ack(s);
}

static int refuse(struct tfl_session *s, enum tfl_error status, uint32_t detail)
{
    struct tfl_msg_error error = {(int8_t)status, detail};

    s->state = TFL_SESSION_WORKING;
    return tfl_session_reply(s, TFL_MESSAGE_ERROR, tfl_error_encode(&error, s->body));
}

/* All bytes are there: hand the request over, once. */
static int complete(struct tfl_session *s)
{
    int status;

    if (tfl_crc32(0, s->body, s->length) != s->digest) {
        return refuse(s, TFL_ERROR_DIGEST, s->digest);
    }
    s->state = TFL_SESSION_WORKING;
    status = send_ack(s);
    return status < 0 ? status : s->type;
}

static int take_open(struct tfl_session *s, const struct tfl_frame *f)
{
    int whole = f->length == OPEN_BYTES + f->offset;

    if ((!whole && f->length != OPEN_BYTES) || (f->payload[0] & TYPE_TO_HOST) != 0u) {
        return 0;
    }
    s->message = f->message;
    if (f->offset > s->body_bytes) {
        return refuse(s, TFL_ERROR_SPACE, s->body_bytes);
    }
    if (f->payload[0] == 0u) {
        return refuse(s, TFL_ERROR_TYPE, 0); /* poll could not announce it */
    }
    s->type = f->payload[0];
    s->digest = tfl_load32_le(f->payload + 1);
    s->length = f->offset;
    s->received = 0;
    s->state = TFL_SESSION_RECEIVING;
    memset(s->bitmap, 0, sizeof s->bitmap);
    if (whole) {
        memcpy(s->body, f->payload + OPEN_BYTES, s->length);
        return complete(s);
    }
    return send_ack(s);
}

static int take_data(struct tfl_session *s, const struct tfl_frame *f)
{
    uint32_t index = f->offset / TFL_CHUNK;

    if (s->state != TFL_SESSION_RECEIVING) {
        return repeat(s);
    }
    if (f->offset % TFL_CHUNK != 0u || f->offset >= s->length ||
        f->length != chunk_bytes(s, f->offset)) {
        return 0;
    }
    if (!bit(s->bitmap, index)) {
        memcpy(s->body + f->offset, f->payload, f->length);
        s->bitmap[index / 8u] = (uint8_t)(s->bitmap[index / 8u] | 1u << (index % 8u));
        s->received++;
    }
    return s->received == chunks_of(s->length) ? complete(s) : send_ack(s);
}

static int take_ack(const struct tfl_session *s, const struct tfl_frame *f)
{
    int status;

    if (f->length == 0u || f->payload[0] != HOST_CREDITS) {
        return 0;
    }
    status = repeat(s);
    if (status < 0 || s->state != TFL_SESSION_REPLIED) {
        return status;
    }
    return send_missing(s, f->offset, f->payload + 1, f->length - 1u);
}

/* A frame of this session. Older messages are late repeats: ignored. */
static int take_own(struct tfl_session *s, const struct tfl_frame *f)
{
    uint8_t ahead = (uint8_t)(f->message - s->message);

    if (f->kind == TFL_FRAME_OPEN && f->length >= OPEN_BYTES && ahead > 0u && ahead < 128u) {
        return take_open(s, f);
    }
    if (ahead != 0u || s->state == TFL_SESSION_IDLE) {
        return 0;
    }
    switch (f->kind) {
    case TFL_FRAME_OPEN:
        return f->length >= OPEN_BYTES && (f->payload[0] & TYPE_TO_HOST) == 0u ? repeat(s) : 0;
    case TFL_FRAME_DATA:
        return take_data(s, f);
    case TFL_FRAME_ACK:
        return take_ack(s, f);
    default:
        return 0;
    }
}

static int is_hello(const struct tfl_session *s, const struct tfl_frame *f)
{
    return f->kind == TFL_FRAME_OPEN && f->session != 0u && f->session != s->previous && f->length >= OPEN_BYTES &&
           f->length == OPEN_BYTES + f->offset && f->payload[0] == TFL_MESSAGE_HELLO;
}

static int take_frame(struct tfl_session *s, const struct tfl_frame *f)
{
    struct tfl_frame reset = {TFL_FRAME_RESET, f->message, f->session, 0, NULL, 0};

    if (s->number != 0u && f->session == s->number) {
        return take_own(s, f);
    }
    if (is_hello(s, f)) {
        s->previous = s->number;
        s->number = f->session;
        s->message = (uint8_t)(f->message - 1u);
        s->state = TFL_SESSION_IDLE;
        return take_own(s, f);
    }
    if (f->kind == TFL_FRAME_OPEN || f->kind == TFL_FRAME_DATA || f->kind == TFL_FRAME_ACK) {
        return send_frame(s, &reset, NULL, 0, NULL, 0);
    }
    return 0;
}

void tfl_session_init(struct tfl_session *s, const struct tfl_port *port, uint8_t *body, uint32_t body_bytes)
{
    memset(s, 0, sizeof *s);
    s->port = port;
    s->body = body;
    s->body_bytes = body_bytes < TFL_MAX_CHUNKS * TFL_CHUNK ? body_bytes : TFL_MAX_CHUNKS * TFL_CHUNK;
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

int tfl_session_reply(struct tfl_session *s, uint8_t type, uint32_t length)
{
    int status;

    if (s->state != TFL_SESSION_WORKING) {
        return 0;
    }
    s->type = type;
    s->length = length;
    s->digest = tfl_crc32(0, s->body, length);
    s->state = TFL_SESSION_REPLIED;
    status = send_open(s);
    return status < 0 ? status : send_missing(s, 0, NULL, 0);
}

int tfl_session_log(const struct tfl_session *s, const char *text, uint32_t length)
{
    struct tfl_frame frame = header(s, TFL_FRAME_LOG, 0);

    return send_frame(s, &frame, (const uint8_t *)text, length < TFL_CHUNK ? length : TFL_CHUNK, NULL, 0);
}
