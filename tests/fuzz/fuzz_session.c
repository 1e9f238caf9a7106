/* A script of frames, raw bytes and replies into the session. Frames are made here with right CRCs and mostly the right
   session, so that the fuzzer reaches what stands behind them. The session must keep its promises:
   a request is handed over whole, within the body, with the right digest, and owes exactly one reply. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define BODY_BYTES 700u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct line {
    const uint8_t *next, *end;
};

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

/* What the board sends must be one whole frame each time. */
static int line_write(void *context, const uint8_t *data, size_t size)
{
    struct tfl_decoder decoder;
    struct tfl_frame frame;
    int frames = 0;

    (void)context;
    memset(&decoder, 0, sizeof decoder);
    for (size_t i = 0; i < size; i++) {
        frames += tfl_frame_decode(&decoder, data[i], &frame);
    }
    if (frames != 1 || decoder.skipped != 0u || size > TFL_FRAME_ENCODED_BYTES) {
        abort();
    }
    return (int)size;
}

static void poll(struct tfl_session *s)
{
    int type;

    while ((type = tfl_session_poll(s)) > 0) {
        if (!tfl_session_busy(s) || s->length > BODY_BYTES || tfl_crc32(0, s->body, s->length) != s->digest) {
            abort();
        }
        if (type == TFL_MESSAGE_TRAIN) {
            continue; /* a long job: a REPLY of the script ends it */
        }
        if (tfl_session_reply(s, TFL_MESSAGE_DONE, s->body[0] * 2u) != 0 || tfl_session_busy(s)) {
            abort();
        }
    }
    if (type < 0) {
        abort();
    }
}

enum flags { ANY_SESSION = 1, WHOLE_OPEN = 2, FITTING_DATA = 4, LONG_OPEN = 8, ZEROS = 16 };

static void set_digest(uint8_t *payload, const uint8_t *body, uint32_t length)
{
    uint32_t crc = tfl_crc32(0, body, length);

    for (unsigned i = 0; i < 4u; i++) {
        payload[1u + i] = (uint8_t)(crc >> (8u * i));
    }
}

/* What a fuzzer would not guess: lengths and digests that agree. Returns the length of the payload. */
static uint32_t make_fit(const struct tfl_session *s, struct tfl_frame *frame, unsigned flags, uint8_t *payload,
                         uint32_t length)
{
    static const uint8_t zeros[BODY_BYTES];

    if ((flags & ZEROS) != 0u) {
        memset(payload + 1, 0, TFL_CHUNK - 1u);
    }
    if ((flags & WHOLE_OPEN) != 0u && length >= 5u) {
        frame->kind = TFL_FRAME_OPEN;
        frame->offset = length - 5u;
        set_digest(payload, payload + 5, length - 5u);
    } else if ((flags & LONG_OPEN) != 0u) {
        frame->kind = TFL_FRAME_OPEN;
        frame->offset = frame->offset < BODY_BYTES ? frame->offset : BODY_BYTES;
        set_digest(payload, zeros, frame->offset);
        return 5u;
    } else if ((flags & FITTING_DATA) != 0u) {
        frame->kind = TFL_FRAME_DATA;
        frame->offset = frame->offset / TFL_CHUNK % 3u * TFL_CHUNK;
        payload[0] = (flags & ZEROS) != 0u ? 0u : payload[0];
        length = s->length > frame->offset ? s->length - frame->offset : 0u;
        return length < TFL_CHUNK ? length : TFL_CHUNK;
    }
    return length;
}

/* kind, message, session, offset in quarter chunks, flags, payload length, payload: returns what is left. */
static size_t send_frame(struct tfl_session *s, struct line *line, const uint8_t *data, size_t size)
{
    struct tfl_frame frame = {0};
    uint8_t out[TFL_FRAME_ENCODED_BYTES], payload[TFL_CHUNK];
    struct tfl_encoder encoder;
    uint32_t length = data[5], take = (uint32_t)size - 6u;

    frame.kind = data[0] % 8u;
    frame.message = data[1] % 8u;
    frame.session = (data[4] & ANY_SESSION) != 0u ? data[2] : 1u;
    frame.offset = data[3] * (TFL_CHUNK / 4u);
    length = length < TFL_CHUNK ? length : TFL_CHUNK;
    take = take < length ? take : length;
    memset(payload, 0, sizeof payload);
    memcpy(payload, data + 6, take);
    length = make_fit(s, &frame, data[4], payload, length);
    tfl_frame_begin(&encoder, out, &frame);
    tfl_frame_add(&encoder, payload, length);
    line->next = out;
    line->end = out + tfl_frame_end(&encoder);
    poll(s);
    return size - 6u - take;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct line line = {NULL, NULL};
    struct tfl_port port = {.context = &line, .read = line_read, .write = line_write};
    struct tfl_session session;
    uint8_t *body = malloc(BODY_BYTES);

    if (body == NULL) {
        return 0;
    }
    memset(body, 0, BODY_BYTES);
    tfl_session_init(&session, &port, body, BODY_BYTES);
    while (size > 8u) {
        if (data[0] == 0xF0u) { /* the job is done */
            if (tfl_session_reply(&session, TFL_MESSAGE_TRAINED, data[1] * 2u) != 0 || tfl_session_busy(&session)) {
                abort();
            }
            data += 2;
            size -= 2u;
        } else if (data[0] == 0xF1u) { /* raw bytes */
            line.next = data + 1;
            line.end = data + 8;
            poll(&session);
            data += 8;
            size -= 8u;
        } else {
            size_t left = send_frame(&session, &line, data, size);

            data += size - left;
            size = left;
        }
    }
    free(body);
    return 0;
}
