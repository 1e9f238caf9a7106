/* Updates as they go over the wire (docs/WIRE.md, "Updates"); the twin is tinyfl/reference/codec.py.

   v is the delta of a tensor or, with feedback, delta + residual. An update says which weights are sent, and of each of
   them q: v in units of 2^shift. What was not sent of v is the residual from then on. */
#ifndef TFL_CODEC_H
#define TFL_CODEC_H

#include "tfl/tfl_node.h"

enum tfl_level { TFL_LEVEL_INT8, TFL_LEVEL_INT4, TFL_LEVEL_INT2, TFL_LEVEL_SIGN };
enum tfl_selection { TFL_SELECT_ALL, TFL_SELECT_TOP, TFL_SELECT_RANDOM };

/* Goes over all weights that learn, in their order. */
struct tfl_walk {
    const struct tfl_tensor *tensor;
    const struct tfl_update *update;
    uint32_t next;              /* where to look for the next weight */
    uint32_t ahead;             /* weights that learn from there on */
    uint32_t left;              /* weights that are still to be sent */
    uint32_t threshold, equals; /* top: |v| above it is sent, and the first `equals` with |v| at it */
    uint32_t dither, random;    /* xorshift32 */
    uint32_t at;                /* the weight that the last tfl_walk_next came to */
    int32_t value, q;           /* of it; q 0 where it is not sent */
    int sent;
};

/* 0, or TFL_ERROR_ARGUMENT where no update can be like that of a tensor of which so many weights learn. */
int tfl_codec_check(const struct tfl_update *update, uint32_t weights) TFL_CHECKED;

void tfl_walk_start(struct tfl_walk *walk, const struct tfl_tensor *tensor, const struct tfl_update *update);

/* 1: came to the next weight; 0: there is none. */
int tfl_walk_next(struct tfl_walk *walk);

/* What v is without what was sent of it. */
static inline int32_t tfl_walk_rest(const struct tfl_walk *walk)
{
    /* modulo 2^32: q 2^shift may be beyond int32, the difference is not: it is between v and 0, or within 2^shift */
    return (int32_t)((uint32_t)walk->value - ((uint32_t)walk->q << walk->update->shift));
}

/* max |v| and the mean of |v| over the weights that learn, rounded down. */
void tfl_codec_measure(const struct tfl_tensor *tensor, unsigned feedback, uint32_t *largest, uint32_t *mean);

/* The coded update; returns its bytes: at most one and a quarter for a weight, and one. */
uint32_t tfl_codec_encode(const struct tfl_tensor *tensor, const struct tfl_update *update, uint8_t *out);

#endif
