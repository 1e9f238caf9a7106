/* Frames: 0x00 COBS(header | payload | CRC-32) 0x00. The decoder believes no byte; the encoder writes into the caller's buffer. */
#ifndef TFL_FRAME_H
#define TFL_FRAME_H

#include <stdint.h>

#include "tfl/tfl_config.h"
#include "tfl/tfl_wire.h"

#define TFL_FRAME_CRC_BYTES 4u
#define TFL_FRAME_BYTES (TFL_FRAME_HEADER_BYTES + TFL_CHUNK + TFL_FRAME_CRC_BYTES)
/* One more byte for each 254 begun, and the two zeros. */
#define TFL_FRAME_ENCODED_BYTES (TFL_FRAME_BYTES + TFL_FRAME_BYTES / 254u + 3u)

struct tfl_frame {
    uint8_t kind;
    uint8_t message;
    uint16_t session;
    uint32_t offset;
    const uint8_t *payload;
    uint32_t length; /* of the payload, <= TFL_CHUNK */
};

/* All zero: ready for the first byte. */
struct tfl_decoder {
    uint16_t length; /* bytes in data */
    uint8_t left;    /* bytes to come before the next code byte */
    uint8_t zero;    /* a zero stands between this block and the next */
    uint8_t bad;     /* skip to the next 0x00 */
    uint8_t data[TFL_FRAME_BYTES];
    uint32_t skipped; /* frames that were none: too long, cut, wrong CRC */
};

struct tfl_encoder {
    uint8_t *out;
    uint32_t length;
    uint32_t code; /* where the current block's code byte stands */
    uint32_t crc;
};

/* Takes one received byte; 1 when it closed a valid frame, whose payload stays in the decoder until the next byte. */
int tfl_frame_decode(struct tfl_decoder *d, uint8_t byte, struct tfl_frame *frame) TFL_CHECKED;

/* Begin with the header (frame->payload is not read), add the payload piece by piece, end: bytes of the encoded frame.
   out holds TFL_FRAME_ENCODED_BYTES; the pieces together at most TFL_CHUNK. */
void tfl_frame_begin(struct tfl_encoder *e, uint8_t *out, const struct tfl_frame *frame);
void tfl_frame_add(struct tfl_encoder *e, const uint8_t *data, uint32_t size);
uint32_t tfl_frame_end(struct tfl_encoder *e);

#endif
