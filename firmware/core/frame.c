#include "frame.h"

#include <string.h>

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
        frame->payload = d->data + TFL_FRAME_HEADER_BYTES;
        frame->length = d->length - TFL_FRAME_HEADER_BYTES - TFL_FRAME_CRC_BYTES;
    } else if (!empty) {
        d->skipped++;
    }
    decoder_restart(d);
    return valid;
}

static void encoder_send(struct tfl_encoder *e, uint32_t size)
{
    if (e->status >= 0) {
        e->status = e->port->write(e->port->context, e->block, size);
    }
}

static void encoder_append(struct tfl_encoder *e, uint8_t byte)
{
    if (e->length == sizeof e->block) { /* all before the open block can go: that one is shorter than 256 bytes */
        encoder_send(e, e->code);
        e->length = (uint16_t)(e->length - e->code);
        memmove(e->block, e->block + e->code, e->length);
        e->code = 0;
    }
    e->block[e->length++] = byte;
}

static void block_begin(struct tfl_encoder *e)
{
    e->code = e->length;
    encoder_append(e, 1);
}

static void encoder_put(struct tfl_encoder *e, uint8_t byte)
{
    if (e->block[e->code] == 0xFFu) {
        block_begin(e); /* the block is full: no zero stands between it and the next */
    }
    if (byte == 0u) {
        block_begin(e);
        return;
    }
    encoder_append(e, byte);
    e->block[e->code]++;
}

void tfl_frame_add(struct tfl_encoder *e, const uint8_t *data, uint32_t size)
{
    e->crc = tfl_crc32(e->crc, data, size);
    for (uint32_t i = 0; i < size; i++) {
        encoder_put(e, data[i]);
    }
}

void tfl_frame_begin(struct tfl_encoder *e, const struct tfl_port *port, const struct tfl_frame *frame, int zero)
{
    uint8_t header[TFL_FRAME_HEADER_BYTES];

    e->port = port;
    e->crc = 0;
    e->status = 0;
    e->length = 0;
    if (zero) {
        e->block[e->length++] = 0;
    }
    block_begin(e);
    header[0] = frame->kind;
    header[1] = frame->message;
    tfl_store16_le(header + 2, frame->session);
    tfl_frame_add(e, header, sizeof header);
}

int tfl_frame_end(struct tfl_encoder *e)
{
    uint8_t crc[TFL_FRAME_CRC_BYTES];

    tfl_store32_le(crc, e->crc);
    tfl_frame_add(e, crc, sizeof crc);
    encoder_append(e, 0);
    encoder_send(e, e->length);
    return e->status < 0 ? e->status : 0;
}
