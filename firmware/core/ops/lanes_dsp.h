/* lanes.h for CPUs with the DSP extension: SMLAD adds the products of two pairs of int16. Four inputs become two words,
   (x0, x2) and (x1, x3), as SXTB16 takes them from memory; weights are taken the same way, so the order does not
   matter. Word 0 of each lane, then word 1 of each lane, and so on. */
#ifndef TFL_LANES_DSP_H
#define TFL_LANES_DSP_H

#include "dsp.h"

#define TFL_LANE_WORDS 1
#define TFL_RUN 4u
#define TFL_RUN_WORDS(run) ((run) / 2u)
#define TFL_AT_ONCE(words, row) ((words) > 1 ? TFL_LANES : TFL_PAIR) /* two inputs a word */

#ifndef TFL_WIDE_WEIGHTS
#define TFL_WIDE_WEIGHTS 0
#endif
#define TFL_WEIGHT_BYTES (TFL_WIDE_WEIGHTS ? 2u : 1u)

static inline void tfl_four_weights(const int8_t *w, uint32_t *even, uint32_t *odd)
{
    *even = TFL_WIDE_WEIGHTS ? tfl_load4(w) : tfl_even(tfl_load4(w));
    *odd = TFL_WIDE_WEIGHTS ? tfl_load4(w + 4) : tfl_odd(tfl_load4(w));
}

static inline void tfl_lane_put(int32_t *lane, unsigned lanes, const int8_t *x, uint32_t count)
{
    uint32_t word;

    for (; count >= 4u; count -= 4u) {
        word = tfl_load4(x);
        lane[0] = (int32_t)tfl_even(word);
        lane[lanes] = (int32_t)tfl_odd(word);
        lane += 2u * lanes;
        x += 4;
    }
    if (count > 0) {
        for (word = 0; count > 0; count--) {
            word = word << 8 | (uint8_t)x[count - 1u];
        }
        lane[0] = (int32_t)tfl_even(word);
        lane[lanes] = (int32_t)tfl_odd(word);
    }
}

/* Weights of wide_conv2d.c are such words already. Eight weights a turn, then four where their number is odd. */
static inline const int8_t *tfl_lanes_dot(int32_t acc[TFL_LANES], const int32_t *x, const int8_t *w, uint32_t n)
{
#define TFL_FOUR_PRODUCTS(weights)                  \
    "ldmia %[x]!, {r8-r11}\n\t"                     \
    "smlad %[a0], r8, " weights ", %[a0]\n\t"       \
    "smlad %[a1], r9, " weights ", %[a1]\n\t"       \
    "smlad %[a2], r10, " weights ", %[a2]\n\t"      \
    "smlad %[a3], r11, " weights ", %[a3]\n\t"
#if TFL_WIDE_WEIGHTS
#define TFL_FOUR_WEIGHTS               \
    "ldmia %[w]!, {r12, lr}\n\t"       \
    TFL_FOUR_PRODUCTS("r12")           \
    TFL_FOUR_PRODUCTS("lr")
#else
#define TFL_FOUR_WEIGHTS               \
    "ldr r12, [%[w]], #4\n\t"          \
    "sxtb16 lr, r12\n\t"               \
    TFL_FOUR_PRODUCTS("lr")            \
    "sxtb16 lr, r12, ror #8\n\t"       \
    TFL_FOUR_PRODUCTS("lr")
#endif
    __asm volatile(TFL_TURNS(TFL_FOUR_WEIGHTS)
                   : [a0] "+r"(acc[0]), [a1] "+r"(acc[1]), [a2] "+r"(acc[2]), [a3] "+r"(acc[3]), [x] "+r"(x),
                     [w] "+r"(w), [n] "+r"(n)
                   :
                   : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
#undef TFL_FOUR_WEIGHTS
#undef TFL_FOUR_PRODUCTS
    return w;
}

static inline const int8_t *tfl_pair_dot(int32_t acc[TFL_PAIR], const int32_t *x, const int8_t *w, uint32_t n)
{
    int32_t a = acc[0], b = acc[1];

    for (const int8_t *end = w + TFL_WEIGHT_BYTES * n; w != end; w += 4u * TFL_WEIGHT_BYTES) {
        uint32_t even, odd;

        tfl_four_weights(w, &even, &odd);
        a = tfl_smlad((uint32_t)x[0], even, a);
        b = tfl_smlad((uint32_t)x[1], even, b);
        a = tfl_smlad((uint32_t)x[2], odd, a);
        b = tfl_smlad((uint32_t)x[3], odd, b);
        x += 4;
    }
    acc[0] = a;
    acc[1] = b;
    return w;
}

static inline int32_t tfl_lane_dot(int32_t acc, const int32_t *x, const int8_t *w, uint32_t n)
{
    for (const int8_t *end = w + TFL_WEIGHT_BYTES * n; w != end; w += 4u * TFL_WEIGHT_BYTES) {
        uint32_t even, odd;

        tfl_four_weights(w, &even, &odd);
        acc = tfl_smlad((uint32_t)*x++, even, acc);
        acc = tfl_smlad((uint32_t)*x++, odd, acc);
    }
    return acc;
}

#endif
