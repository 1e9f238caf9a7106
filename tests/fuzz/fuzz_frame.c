/* Any bytes into the frame decoder; what it takes must encode to bytes that decode to the same again. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_again(const struct tfl_frame *frame)
{
    uint8_t out[TFL_FRAME_ENCODED_BYTES];
    struct tfl_decoder decoder;
    struct tfl_encoder encoder;
    struct tfl_frame again = {0};
    uint32_t length;
    int frames = 0;

    memset(&decoder, 0, sizeof decoder);
    tfl_frame_begin(&encoder, out, frame);
    tfl_frame_add(&encoder, frame->payload, frame->length);
    length = tfl_frame_end(&encoder);
    if (length > sizeof out) {
        abort();
    }
    for (uint32_t i = 0; i < length; i++) {
        frames += tfl_frame_decode(&decoder, out[i], &again);
    }
    if (frames != 1 || again.kind != frame->kind || again.message != frame->message || again.session != frame->session ||
        again.offset != frame->offset || again.length != frame->length ||
        memcmp(again.payload, frame->payload, frame->length) != 0) {
        abort();
    }
}

/* A frame of these bytes as they are: a fuzzer does not guess a CRC. */
static void as_payload(const uint8_t *data, size_t size)
{
    struct tfl_frame frame = {data[0], data[1], data[2], data[3], data + 4, (uint32_t)size - 4u};

    frame.length = frame.length < TFL_CHUNK ? frame.length : TFL_CHUNK;
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
    if (size >= 4u) {
        as_payload(data, size);
    }
    return 0;
}
