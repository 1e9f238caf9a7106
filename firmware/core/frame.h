/* Frames: COBS(header | payload | CRC-32) 0x00. The decoder believes no byte; the encoder streams into the port, so that
   no whole frame lies on the stack. */
#ifndef TFL_FRAME_H
#define TFL_FRAME_H

#include <stdint.h>

#include "tfl/tfl_config.h"
#include "tfl/tfl_port.h"
#include "tfl/tfl_wire.h"

#define TFL_FRAME_CRC_BYTES 4u
#define TFL_PAYLOAD_BYTES (1u + TFL_MAC_BYTES + TFL_CHUNK) /* of a WHOLE; no other frame has more */
#define TFL_FRAME_BYTES (TFL_FRAME_HEADER_BYTES + TFL_PAYLOAD_BYTES + TFL_FRAME_CRC_BYTES)
/* One more byte for each 254 begun, and a zero on either side. */
#define TFL_FRAME_ENCODED_BYTES (TFL_FRAME_BYTES + TFL_FRAME_BYTES / 254u + 3u)
#define TFL_ENCODER_BYTES 256u /* a zero and the longest block of COBS */

struct tfl_frame {
    uint8_t kind; /* with the bits above the kind's own */
    uint8_t message;
    uint16_t session;
    const uint8_t *payload;
    uint32_t length; /* of the payload, <= TFL_PAYLOAD_BYTES */
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
    const struct tfl_port *port;
    uint32_t crc;
    int status;            /* of the port: once negative, nothing more is written */
    uint16_t length, code; /* bytes in block; where the open block's code byte stands */
    uint8_t block[TFL_ENCODER_BYTES];
};

/* Takes one received byte; 1 when it closed a valid frame, whose payload stays in the decoder until the next byte. */
int tfl_frame_decode(struct tfl_decoder *d, uint8_t byte, struct tfl_frame *frame) TFL_CHECKED;

/* Begin with the header (frame->payload is not read), add the payload piece by piece, end: 0, or negative: the link is
   gone. zero: 1 puts a 0x00 before the frame, which ends whatever stands on the line. */
void tfl_frame_begin(struct tfl_encoder *e, const struct tfl_port *port, const struct tfl_frame *frame, int zero);
void tfl_frame_add(struct tfl_encoder *e, const uint8_t *data, uint32_t size);
int tfl_frame_end(struct tfl_encoder *e) TFL_CHECKED;

#endif
