/* Numbers in as few bytes as they are likely: an adaptive binary range coder (docs/WIRE.md, "Entropy coding"); the twin
   is tinyfl/reference/entropy.py. */
#ifndef TFL_CODEC_ENTROPY_H
#define TFL_CODEC_ENTROPY_H

#include <stdint.h>

#include "tfl/tfl_config.h"

#define TFL_ENTROPY_SIZES 7u /* bits of a number's magnitude: |q| <= 127 */

struct tfl_chance {
    uint16_t one; /* how likely a decision is 1, Q16 */
    uint8_t seen; /* decisions that it has learned from, as far as they count */
};

struct tfl_entropy {
    uint8_t *out;
    uint32_t room, size; /* size grows beyond room, out does not */
    uint32_t low, high;  /* bytes that are in both have left */
    unsigned last, before; /* bits of the last two magnitudes */
    struct tfl_chance larger[3][TFL_ENTROPY_SIZES], second[TFL_ENTROPY_SIZES];
};

/* Of the numbers that will be put, `sent` of `of` may be other than 0. */
void tfl_entropy_start(struct tfl_entropy *coder, uint8_t *out, uint32_t room, uint32_t sent, uint32_t of);

/* |q| <= limit, which is 2^n - 1. */
void tfl_entropy_put(struct tfl_entropy *coder, int32_t q, uint32_t limit);

/* Bytes that it takes, at least 1; where they are more than the room, what is there is of no use. */
uint32_t tfl_entropy_end(struct tfl_entropy *coder) TFL_CHECKED;

#endif
