/* The multiply-accumulates of a convolution. Inputs of four pixels lie beside each other in scratch, widened once, so
   that a weight is loaded and widened once for all four. A single pixel that is left takes a lane of its own.

   Each CPU has its own way; all of them provide, for a lane of n inputs (n: a multiple of four)
     tfl_lane_put    writes x[0..count) into it, and zeros up to n; the number of lanes is a constant
     tfl_lanes_dot   acc[lane] += sum of the lane's inputs times w[0..n), for four lanes; returns w + n
     tfl_pair_dot    the same for two lanes, where scratch holds no more
     tfl_lane_dot    acc + the same for a lane alone
     TFL_AT_ONCE     how many lanes lie in scratch of so many words for each input of a row
     TFL_LANE_WORDS  from one lane to the next
     TFL_WEIGHT_BYTES  of a weight
     TFL_RUN         inputs behind which a lane may be continued: a multiple of as many
     TFL_RUN_WORDS   how many words of a lane they take, for one lane
   The lanes start at neighbouring words of an area of 4 n lanes bytes or less. |acc| < 2^29: the compiler proved it. */
#ifndef TFL_LANES_H
#define TFL_LANES_H

#include "kernel.h"

#define TFL_LANES 4
#define TFL_PAIR 2

/* The loop of Armv7-M's assembly over n weights, with the code for four of them: eight a turn, then four where the number
   of fours is odd. */
#define TFL_TURNS(four)       \
    "subs %[n], #8\n\t"       \
    "blt 2f\n"                \
    "1:\n\t"                  \
    four four                 \
    "subs %[n], #8\n\t"       \
    "bge 1b\n"                \
    "2:\n\t"                  \
    "cmp %[n], #-8\n\t"       \
    "beq 3f\n\t"              \
    four                      \
    "3:"

#if TFL_HELIUM
#include "lanes_mve.h"
#elif defined(__ARM_FEATURE_DSP)
#include "lanes_dsp.h"
#else

#define TFL_AT_ONCE(words, row) (words)
#define TFL_LANE_WORDS 1
#define TFL_WEIGHT_BYTES 1u
#define TFL_RUN 4u
#define TFL_RUN_WORDS(run) (run)

/* Inputs are words, lane by lane: x0[0] x1[0] x2[0] x3[0] x0[1] ... */
static inline void tfl_lane_put(int32_t *lane, unsigned lanes, const int8_t *x, uint32_t count)
{
    for (; count >= 4u; count -= 4u) {
        lane[0] = x[0];
        lane[lanes] = x[1];
        lane[2u * lanes] = x[2];
        lane[3u * lanes] = x[3];
        lane += 4u * lanes;
        x += 4;
    }
    if (count > 0) {
        lane[0] = x[0];
        lane[lanes] = count > 1u ? x[1] : 0;
        lane[2u * lanes] = count > 2u ? x[2] : 0;
        lane[3u * lanes] = 0;
    }
}

static inline int32_t tfl_lane_dot(int32_t acc, const int32_t *x, const int8_t *w, uint32_t n)
{
    const int8_t *end = w + n;

    while (w != end) {
        acc += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
        x += 4;
        w += 4;
    }
    return acc;
}

#if defined(__ARM_ARCH_6M__) && TFL_ALL_REGISTERS

/* w points behind the row, i counts up to zero: index and condition in one. Sums in the upper registers, where only ADD
   reaches them. */
static inline const int8_t *tfl_lanes_dot(int32_t acc[TFL_LANES], const int32_t *x, const int8_t *w, uint32_t n)
{
    int32_t i = -(int32_t)n;
    int32_t weight;

#define TFL_WEIGHT                         \
    "ldrsb %[weight], [%[w], %[i]]\n\t"    \
    "ldmia %[x]!, {r0-r3}\n\t"             \
    "muls r0, %[weight], r0\n\t"           \
    "muls r1, %[weight], r1\n\t"           \
    "muls r2, %[weight], r2\n\t"           \
    "muls r3, %[weight], r3\n\t"           \
    "add %[a0], r0\n\t"                    \
    "add %[a1], r1\n\t"                    \
    "add %[a2], r2\n\t"                    \
    "add %[a3], r3\n\t"                    \
    "adds %[i], #1\n\t"
    __asm volatile(".syntax unified\n"
                   "1:\n\t"
                   TFL_WEIGHT TFL_WEIGHT TFL_WEIGHT TFL_WEIGHT
                   "bne 1b"
                   : [a0] "+h"(acc[0]), [a1] "+h"(acc[1]), [a2] "+h"(acc[2]), [a3] "+h"(acc[3]), [x] "+l"(x),
                     [i] "+l"(i), [weight] "=&l"(weight)
                   : [w] "l"(w + n)
                   : "r0", "r1", "r2", "r3", "cc", "memory");
#undef TFL_WEIGHT
    return w + n;
}

static inline const int8_t *tfl_pair_dot(int32_t acc[TFL_PAIR], const int32_t *x, const int8_t *w, uint32_t n)
{
    int32_t i = -(int32_t)n;
    int32_t weight;

#define TFL_WEIGHT                         \
    "ldrsb %[weight], [%[w], %[i]]\n\t"    \
    "ldmia %[x]!, {r0, r1}\n\t"            \
    "muls r0, %[weight], r0\n\t"           \
    "muls r1, %[weight], r1\n\t"           \
    "add %[a0], r0\n\t"                    \
    "add %[a1], r1\n\t"                    \
    "adds %[i], #1\n\t"
    __asm volatile(".syntax unified\n"
                   "1:\n\t"
                   TFL_WEIGHT TFL_WEIGHT TFL_WEIGHT TFL_WEIGHT
                   "bne 1b"
                   : [a0] "+h"(acc[0]), [a1] "+h"(acc[1]), [x] "+l"(x), [i] "+l"(i), [weight] "=&l"(weight)
                   : [w] "l"(w + n)
                   : "r0", "r1", "cc", "memory");
#undef TFL_WEIGHT
    return w + n;
}

#elif defined(__ARM_ARCH_7M__)

static inline const int8_t *tfl_lanes_dot(int32_t acc[TFL_LANES], const int32_t *x, const int8_t *w, uint32_t n)
{
#define TFL_WEIGHT                          \
    "ldrsb r12, [%[w]], #1\n\t"             \
    "ldmia %[x]!, {r8-r11}\n\t"             \
    "mla %[a0], r8, r12, %[a0]\n\t"         \
    "mla %[a1], r9, r12, %[a1]\n\t"         \
    "mla %[a2], r10, r12, %[a2]\n\t"        \
    "mla %[a3], r11, r12, %[a3]\n\t"
#define TFL_FOUR_WEIGHTS TFL_WEIGHT TFL_WEIGHT TFL_WEIGHT TFL_WEIGHT
    __asm volatile(TFL_TURNS(TFL_FOUR_WEIGHTS)
                   : [a0] "+r"(acc[0]), [a1] "+r"(acc[1]), [a2] "+r"(acc[2]), [a3] "+r"(acc[3]), [x] "+r"(x),
                     [w] "+r"(w), [n] "+r"(n)
                   :
                   : "r8", "r9", "r10", "r11", "r12", "cc", "memory");
#undef TFL_FOUR_WEIGHTS
#undef TFL_WEIGHT
    return w;
}

static inline const int8_t *tfl_pair_dot(int32_t acc[TFL_PAIR], const int32_t *x, const int8_t *w, uint32_t n)
{
#define TFL_WEIGHT                          \
    "ldrsb r12, [%[w]], #1\n\t"             \
    "ldmia %[x]!, {r8, r9}\n\t"             \
    "mla %[a0], r8, r12, %[a0]\n\t"         \
    "mla %[a1], r9, r12, %[a1]\n\t"
    __asm volatile("1:\n\t"
                   TFL_WEIGHT TFL_WEIGHT TFL_WEIGHT TFL_WEIGHT
                   "subs %[n], #4\n\t"
                   "bne 1b"
                   : [a0] "+r"(acc[0]), [a1] "+r"(acc[1]), [x] "+r"(x), [w] "+r"(w), [n] "+r"(n)
                   :
                   : "r8", "r9", "r12", "cc", "memory");
#undef TFL_WEIGHT
    return w;
}

#else

static inline const int8_t *tfl_lanes_dot(int32_t acc[TFL_LANES], const int32_t *x, const int8_t *w, uint32_t n)
{
    for (const int8_t *end = w + n; w != end; w++) {
        for (unsigned lane = 0; lane < TFL_LANES; lane++) {
            acc[lane] += *x++ * *w;
        }
    }
    return w;
}

static inline const int8_t *tfl_pair_dot(int32_t acc[TFL_PAIR], const int32_t *x, const int8_t *w, uint32_t n)
{
    for (const int8_t *end = w + n; w != end; w++) {
        acc[0] += *x++ * *w;
        acc[1] += *x++ * *w;
    }
    return w;
}

#endif
#endif

static TFL_ALONE void tfl_lanes_scale_any(const struct tfl_scaling *s, const int32_t acc[TFL_LANES],
                                          const int32_t *words, uint32_t c, int8_t *const out[TFL_LANES])
{
    for (unsigned lane = 0; lane < TFL_LANES; lane++) {
        out[lane][c] = tfl_scale(s, acc[lane], words);
    }
}

/* Value c of each lane's output; full, a constant: the kind is TFL_SCALE_FULL. */
static inline void tfl_lanes_scale(const struct tfl_scaling *s, int full, const int32_t acc[TFL_LANES],
                                   const int32_t *words, uint32_t c, int8_t *const out[TFL_LANES])
{
    if (full) {
        struct tfl_channel channel = tfl_channel(words);

        out[0][c] = tfl_scale_full(2 * acc[0], channel);
        out[1][c] = tfl_scale_full(2 * acc[1], channel);
        out[2][c] = tfl_scale_full(2 * acc[2], channel);
        out[3][c] = tfl_scale_full(2 * acc[3], channel);
    } else if (!TFL_CLAMPS_LATER && tfl_scale_is(s, TFL_SCALE_CLAMP)) {
        struct tfl_channel channel = tfl_channel(words);
        int32_t low = s->low, range = s->high - low;

        out[0][c] = tfl_scale_clamp(2 * acc[0], channel, low, range);
        out[1][c] = tfl_scale_clamp(2 * acc[1], channel, low, range);
        out[2][c] = tfl_scale_clamp(2 * acc[2], channel, low, range);
        out[3][c] = tfl_scale_clamp(2 * acc[3], channel, low, range);
    } else {
        const int32_t copy[TFL_LANES] = {acc[0], acc[1], acc[2], acc[3]}; /* so that acc can stay in registers */

        tfl_lanes_scale_any(s, copy, words, c, out);
    }
}

#endif
