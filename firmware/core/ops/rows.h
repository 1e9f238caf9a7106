/* The multiply-accumulates of a dense layer: four rows of weights with one vector, or one row that is left.

     tfl_rows_sum    what tfl_rows_dot wants to know of the vector: the sum of its values
     tfl_rows_dot    acc[r] += sum of x times row r; w: blocks of four rows times four inputs (TFL_BLOCK); returns
                     where the next rows lie
     tfl_row_dot     the sum of x times w
   n: a multiple of four. x and blocks are aligned to words. */
#ifndef TFL_ROWS_H
#define TFL_ROWS_H

#include "kernel.h"

#if TFL_MVE
#include "rows_mve.h"
#elif defined(__ARM_FEATURE_DSP)
#include "rows_dsp.h"
#else

static inline int32_t tfl_rows_sum(const int8_t *x, uint32_t n)
{
    int32_t sum = 0;

    for (const int8_t *end = x + n; x != end; x++) {
        sum += *x;
    }
    return sum;
}

static inline int32_t tfl_row_dot(const int8_t *x, const int8_t *w, uint32_t n)
{
    int32_t acc = 0;

    for (const int8_t *end = w + n; w != end; w += 4) {
        acc += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
        x += 4;
    }
    return acc;
}

/* All weights of a block are w + 128: an Armv6-M loads from [register + constant] without a sign only. */
#if defined(__ARM_ARCH_6M__) && TFL_ALL_REGISTERS

static inline const int8_t *tfl_rows_dot(int32_t acc[4], const int8_t *x, const int8_t *w, uint32_t n, int32_t sum)
{
    int32_t a0 = -128 * sum; /* |.| <= 2^14 n; with the products 2^15 n */
    int32_t a1 = a0, a2 = a0, a3 = a0;

#define TFL_PRODUCT(acc, offset)                          \
    "ldrb %[product], [%[w], #" offset "]\n\t"            \
    "muls %[product], %[input], %[product]\n\t"           \
    "add " acc ", %[product]\n\t"
#define TFL_INPUT(index, o0, o1, o2, o3)                  \
    "ldrsb %[input], [%[x], " index "]\n\t"               \
    TFL_PRODUCT("%[a0]", o0) TFL_PRODUCT("%[a1]", o1)     \
    TFL_PRODUCT("%[a2]", o2) TFL_PRODUCT("%[a3]", o3)
    __asm volatile(".syntax unified\n\t"
                   "movs r0, #0\n\t"
                   "movs r1, #1\n\t"
                   "movs r2, #2\n\t"
                   "movs r3, #3\n"
                   "1:\n\t"
                   TFL_INPUT("r0", "0", "1", "2", "3")
                   TFL_INPUT("r1", "4", "5", "6", "7")
                   TFL_INPUT("r2", "8", "9", "10", "11")
                   TFL_INPUT("r3", "12", "13", "14", "15")
                   "adds %[w], #16\n\t"
                   "adds %[x], #4\n\t"
                   "cmp %[x], %[end]\n\t"
                   "bne 1b"
                   : [a0] "+h"(a0), [a1] "+h"(a1), [a2] "+h"(a2), [a3] "+h"(a3), [x] "+l"(x), [w] "+l"(w),
                     [input] "=&l"(n), [product] "=&l"(sum)
                   : [end] "h"(x + n)
                   : "r0", "r1", "r2", "r3", "cc", "memory");
#undef TFL_INPUT
#undef TFL_PRODUCT
    acc[0] += a0;
    acc[1] += a1;
    acc[2] += a2;
    acc[3] += a3;
    return w;
}

#else

/* One input and its four weights; one by one, since a compiler that adds the products first needs more instructions. */
#define TFL_INPUT(i)                  \
    do {                              \
        a0 += x[i] * w[4 * (i)];      \
        a1 += x[i] * w[4 * (i) + 1];  \
        a2 += x[i] * w[4 * (i) + 2];  \
        a3 += x[i] * w[4 * (i) + 3];  \
    } while (0)

static inline const int8_t *tfl_rows_dot(int32_t acc[4], const int8_t *x, const int8_t *weights, uint32_t n,
                                         int32_t sum)
{
    const uint8_t *w = (const uint8_t *)weights;
    int32_t a0 = -128 * sum; /* |.| <= 2^14 n; with the products 2^15 n */
    int32_t a1 = a0, a2 = a0, a3 = a0;

    for (const int8_t *end = x + n; x != end; x += 4) {
        TFL_INPUT(0);
        TFL_INPUT(1);
        TFL_INPUT(2);
        TFL_INPUT(3);
        w += 16;
    }
    acc[0] += a0;
    acc[1] += a1;
    acc[2] += a2;
    acc[3] += a3;
    return (const int8_t *)w;
}

#undef TFL_INPUT
#endif
#endif
#endif
