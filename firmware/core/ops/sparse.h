/* Pruned layers: weights come as groups of eight, a byte that tells which of them are not zero (the first one in bit 7)
   and then these, one after the other (tinyfl/compiler/ops/sparse.py).

   A convolution has its pixels' inputs beside each other in scratch, `lanes` words for each place of the window, and
   runs through an output channel's weights once for all of them:
     TFL_SPARSE_PIXELS    how many pixels share a word
     tfl_sparse_put       writes the inputs of as many pixels, `words` apart
     tfl_sparse_lanes     sums[pixel] = sum of its inputs times the weights; x: the first place of the window, end: the
                          place behind its last group; returns where the next channel's weights lie
   A dense layer has groups of eight outputs for each input, and an empty group behind the last one:
     tfl_sparse_columns   sums[output] = bias + sum of x times its weights; returns where the next eight outputs' lie
   |sum| < 2^22 without the bias: the compiler proved it. */
#ifndef TFL_SPARSE_H
#define TFL_SPARSE_H

#include "kernel.h"

#ifndef TFL_SPARSE_LARGE
#define TFL_SPARSE_LARGE 0 /* 1: spend 9 KB more of code for fewer jumps of tfl_sparse_columns */
#endif

#define TFL_GROUP 8
#define TFL_SPARSE_MOST 8 /* pixels a turn */

#if defined(__thumb2__) && !defined(__clang__)
#include "sparse_v7m.h"
#else

#define TFL_SPARSE_PIXELS 1

static inline void tfl_sparse_put(int32_t *x, unsigned words, const int8_t *const from[1], uint32_t count)
{
    for (const int8_t *p = from[0], *end = p + count; p != end; p++) {
        *x = *p;
        x += words;
    }
}

#if defined(__ARM_ARCH_6M__) && !defined(__clang__)
#include "sparse_v6m.h"
#else

static inline const int8_t *tfl_sparse_lanes(int32_t *sums, const int32_t *x, const int8_t *w, const int32_t *end,
                                             unsigned words)
{
    for (unsigned lane = 0; lane < words; lane++) {
        sums[lane] = 0;
    }
    while (x != end) {
        uint32_t mask = (uint8_t)*w++;

        for (unsigned i = 0; i < TFL_GROUP; i++, mask <<= 1) {
            if (mask & 0x80u) {
                for (unsigned lane = 0; lane < words; lane++) { /* wraps in lanes without a pixel */
                    sums[lane] = (int32_t)((uint32_t)sums[lane] + (uint32_t)x[lane] * (uint32_t)*w);
                }
                w++;
            }
            x += words;
        }
    }
    return w;
}

static inline const int8_t *tfl_sparse_columns(const int32_t bias[TFL_GROUP], const int8_t *x, const int8_t *w,
                                               const int8_t *end, int32_t sums[TFL_GROUP])
{
    for (unsigned i = 0; i < TFL_GROUP; i++) {
        sums[i] = bias[i];
    }
    for (; x != end; x++) {
        uint32_t mask = (uint8_t)*w++;

        for (unsigned i = 0; mask != 0; i++, mask = mask << 1 & 0xFFu) {
            if (mask & 0x80u) {
                sums[i] += *x * *w++;
            }
        }
    }
    return w + 1;
}

#endif
#endif
#endif
