#include "frame.h"

#include "fixed.h"

static void decoder_restart(struct tfl_decoder *d)
{
    d->length = 0;
    d->left = 0;
    d->zero = 0;
    d->bad = 0;
}

static void decoder_push(struct tfl_decoder *d, uint8_t byte)
{
    if (d->length == TFL_FRAME_BYTES) {
        d->bad = 1;
        return;
    }
    d->data[d->length++] = byte;
}

static void decoder_take(struct tfl_decoder *d, uint8_t byte)
{
    if (d->left > 0u) {
        decoder_push(d, byte);
        d->left--;
        return;
    }
    if (d->zero != 0u) {
        decoder_push(d, 0);
    }
    d->left = (uint8_t)(byte - 1u);
    d->zero = byte != 0xFFu;
}

static int decoder_valid(const struct tfl_decoder *d)
{
    uint32_t end;

    if (d->bad != 0u || d->left != 0u || d->length < TFL_FRAME_HEADER_BYTES + TFL_FRAME_CRC_BYTES) {
        return 0;
    }
    end = d->length - TFL_FRAME_CRC_BYTES;
    return tfl_crc32(0, d->data, end) == tfl_load32_le(d->data + end);
}

int tfl_frame_decode(struct tfl_decoder *d, uint8_t byte, struct tfl_frame *frame)
{
    int valid, empty;

    if (byte != 0u) {
        if (d->bad == 0u) {
            decoder_take(d, byte);
        }
        return 0;
    }
    empty = d->length == 0u && d->left == 0u && d->zero == 0u && d->bad == 0u;
    valid = decoder_valid(d);
    if (valid) {
        frame->kind = d->data[0];
        frame->message = d->data[1];
        frame->session = tfl_load16_le(d->data + 2);
        frame->offset = tfl_load32_le(d->data + 4);
        frame->payload = d->data + TFL_FRAME_HEADER_BYTES;
        frame->length = d->length - TFL_FRAME_HEADER_BYTES - TFL_FRAME_CRC_BYTES;
    } else if (!empty) {
        d->skipped++;
    }
    decoder_restart(d);
    return valid;
}

static void block_begin(struct tfl_encoder *e)
{
    e->code = e->length++;
    e->out[e->code] = 1;
}

static void encoder_put(struct tfl_encoder *e, uint8_t byte)
{
    if (e->out[e->code] == 0xFFu) {
        block_begin(e); /* the block is full: no zero stands between it and the next */
    }
    if (byte == 0u) {
        block_begin(e);
        return;
    }
    e->out[e->length++] = byte;
    e->out[e->code]++;
}

void tfl_frame_add(struct tfl_encoder *e, const uint8_t *data, uint32_t size)
{
    e->crc = tfl_crc32(e->crc, data, size);
    for (uint32_t i = 0; i < size; i++) {
        encoder_put(e, data[i]);
    }
}

void tfl_frame_begin(struct tfl_encoder *e, uint8_t *out, const struct tfl_frame *frame)
{
    uint8_t header[TFL_FRAME_HEADER_BYTES];

    e->out = out;
    e->out[0] = 0; /* ends whatever stood on the line: text that was printed, half a frame */
    e->length = 1;
    e->crc = 0;
    block_begin(e);
    header[0] = frame->kind;
    header[1] = frame->message;
    tfl_store16_le(header + 2, frame->session);
    tfl_store32_le(header + 4, frame->offset);
    tfl_frame_add(e, header, sizeof header);
}

uint32_t tfl_frame_end(struct tfl_encoder *e)
{
    uint8_t crc[TFL_FRAME_CRC_BYTES];

    tfl_store32_le(crc, e->crc);
    tfl_frame_add(e, crc, sizeof crc);
    e->out[e->length++] = 0;
    return e->length;
}
