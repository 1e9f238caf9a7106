/* rows.h for CPUs with the DSP extension. Two rows share halfwords: the upper byte is the weight a of one, the lower
   byte the weight of the other plus 128, b >= 0. A halfword as it stands is 256 a + b, and UXTB16 leaves b: one
   instruction to unpack for two products. With T = sum x (256 a + b) and S = sum x b, the rows' sums are (T - S) / 256
   and S - 128 sum x. T and S wrap; their difference does not while |sum x a| < 2^23, so it is taken after each TFL_SPAN
   inputs, and T begins again at S. */
#ifndef TFL_ROWS_DSP_H
#define TFL_ROWS_DSP_H

#include "dsp.h"

#define TFL_SPAN 508u /* 508 * 2^14 * 2^8 < 2^31 */

static inline int32_t tfl_rows_sum(const int8_t *x, uint32_t n)
{
    int32_t sum = 0;

    for (const int8_t *end = x + n; x != end; x += 4) {
        uint32_t word = tfl_load4(x);

        sum = tfl_smlad(tfl_even(word), 0x00010001u, sum);
        sum = tfl_smlad(tfl_odd(word), 0x00010001u, sum);
    }
    return sum;
}

static inline int32_t tfl_row_dot(const int8_t *x, const int8_t *w, uint32_t n)
{
    int32_t acc = 0;

    for (const int8_t *end = w + n; w != end; w += 4) {
        uint32_t inputs = tfl_load4(x);
        uint32_t weights = tfl_load4(w);

        acc = tfl_smlad(tfl_even(inputs), tfl_even(weights), acc);
        acc = tfl_smlad(tfl_odd(inputs), tfl_odd(weights), acc);
        x += 4;
    }
    return acc;
}

/* acc[0], acc[2] become s0, s1, and the other two rows get what T has more. */
static inline void tfl_rows_part(int32_t acc[4], int32_t t0, int32_t t1, int32_t s0, int32_t s1)
{
    acc[0] = s0;
    acc[1] += (int32_t)((uint32_t)t0 - (uint32_t)s0) >> 8;
    acc[2] = s1;
    acc[3] += (int32_t)((uint32_t)t1 - (uint32_t)s1) >> 8;
}

#if TFL_ALL_REGISTERS

#define TFL_PRODUCTS(word, t, s)               \
    "smlad " t ", %[half], " word ", " t "\n\t" \
    "uxtb16 " word ", " word "\n\t"            \
    "smlad " s ", %[half], " word ", " s "\n\t"
#define TFL_FOUR_INPUTS(inputs)                \
    "ldmia %[w]!, {r8-r11}\n\t"                \
    "sxtb16 %[half], " inputs "\n\t"           \
    TFL_PRODUCTS("r8", "%[t0]", "%[s0]")       \
    TFL_PRODUCTS("r9", "%[t1]", "%[s1]")       \
    "sxtb16 %[half], " inputs ", ror #8\n\t"   \
    TFL_PRODUCTS("r10", "%[t0]", "%[s0]")      \
    TFL_PRODUCTS("r11", "%[t1]", "%[s1]")

/* Adds the products of n inputs: eight a turn, then four where their number is odd. Returns where the weights go on. */
static inline const int8_t *tfl_rows_add(int32_t acc[4], const int8_t *x, const int8_t *w, uint32_t n)
{
    int32_t t0 = acc[0], t1 = acc[2], s0 = acc[0], s1 = acc[2];
    uint32_t half;

    __asm volatile("subs %[n], #8\n\t"
                   "blt 2f\n"
                   "1:\n\t"
                   "ldmia %[x]!, {r12, lr}\n\t"
                   TFL_FOUR_INPUTS("r12")
                   TFL_FOUR_INPUTS("lr")
                   "subs %[n], #8\n\t"
                   "bge 1b\n"
                   "2:\n\t"
                   "cmp %[n], #-8\n\t"
                   "beq 3f\n\t"
                   "ldr r12, [%[x]], #4\n\t"
                   TFL_FOUR_INPUTS("r12")
                   "3:"
                   : [t0] "+r"(t0), [t1] "+r"(t1), [s0] "+r"(s0), [s1] "+r"(s1), [x] "+r"(x), [w] "+r"(w), [n] "+r"(n),
                     [half] "=&r"(half)
                   :
                   : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
    tfl_rows_part(acc, t0, t1, s0, s1);
    return w;
}

#undef TFL_FOUR_INPUTS
#undef TFL_PRODUCTS
#else

static inline void tfl_rows_pair(int32_t *t, int32_t *s, uint32_t half, uint32_t word)
{
    *t = tfl_smlad(half, word, *t);
    *s = tfl_smlad(half, word & 0x00FF00FFu, *s);
}

static inline const int8_t *tfl_rows_add(int32_t acc[4], const int8_t *x, const int8_t *w, uint32_t n)
{
    int32_t t0 = acc[0], t1 = acc[2], s0 = acc[0], s1 = acc[2];

    for (const int8_t *end = x + n; x != end; x += 4) {
        uint32_t inputs = tfl_load4(x);

        tfl_rows_pair(&t0, &s0, tfl_even(inputs), tfl_load4(w));
        tfl_rows_pair(&t1, &s1, tfl_even(inputs), tfl_load4(w + 4));
        tfl_rows_pair(&t0, &s0, tfl_odd(inputs), tfl_load4(w + 8));
        tfl_rows_pair(&t1, &s1, tfl_odd(inputs), tfl_load4(w + 12));
        w += 16;
    }
    tfl_rows_part(acc, t0, t1, s0, s1);
    return w;
}

#endif

/* Of a long vector: alone, so that short ones do not pay for it. */
static TFL_ALONE const int8_t *tfl_rows_span(int32_t acc[4], const int8_t *x, const int8_t *w, uint32_t n)
{
    return tfl_rows_add(acc, x, w, n);
}

static inline const int8_t *tfl_rows_dot(int32_t acc[4], const int8_t *x, const int8_t *w, uint32_t n, int32_t sum)
{
    acc[0] -= 128 * sum;
    acc[2] -= 128 * sum;
    for (; n > TFL_SPAN; n -= TFL_SPAN) {
        w = tfl_rows_span(acc, x, w, TFL_SPAN);
        x += TFL_SPAN;
    }
    return tfl_rows_add(acc, x, w, n);
}

#endif
