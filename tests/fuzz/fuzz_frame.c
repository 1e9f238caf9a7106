/* Any bytes into the frame decoder; what it takes must encode to bytes that decode to the same again. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct line {
    struct tfl_decoder decoder;
    struct tfl_frame frame;
    uint32_t frames, bytes;
};

static int line_write(void *context, const uint8_t *data, size_t size)
{
    struct line *line = context;

    if (size == 0u || size > TFL_ENCODER_BYTES) {
        abort();
    }
    for (size_t i = 0; i < size; i++) {
        line->frames += (uint32_t)tfl_frame_decode(&line->decoder, data[i], &line->frame);
    }
    line->bytes += (uint32_t)size;
    return (int)size;
}

static void same_again(const struct tfl_frame *frame)
{
    struct line line;
    const struct tfl_port port = {.context = &line, .write = line_write};
    struct tfl_encoder encoder;

    memset(&line, 0, sizeof line);
    tfl_frame_begin(&encoder, &port, frame, frame->message & 1);
    tfl_frame_add(&encoder, frame->payload, frame->length);
    if (tfl_frame_end(&encoder) != 0 || line.bytes > TFL_FRAME_ENCODED_BYTES || line.decoder.skipped != 0u ||
        line.frames != 1u || line.frame.kind != frame->kind || line.frame.message != frame->message ||
        line.frame.session != frame->session || line.frame.length != frame->length ||
        memcmp(line.frame.payload, frame->payload, frame->length) != 0) {
        abort();
    }
}

/* A frame of these bytes as they are: a fuzzer does not guess a CRC. */
static void as_payload(const uint8_t *data, size_t size)
{
    struct tfl_frame frame = {data[0], data[1], data[2], data + 3, (uint32_t)size - 3u};

    frame.length = frame.length < TFL_PAYLOAD_BYTES ? frame.length : TFL_PAYLOAD_BYTES;
    same_again(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tfl_decoder *decoder = calloc(1, sizeof *decoder);
    struct tfl_frame frame;

    for (size_t i = 0; decoder != NULL && i < size; i++) {
        if (tfl_frame_decode(decoder, data[i], &frame)) {
            same_again(&frame);
        }
    }
    free(decoder);
    if (size >= 3u) {
        as_payload(data, size);
    }
    return 0;
}
