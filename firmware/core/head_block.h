/* The loops that a step spends its time in: over an embedding, over one block of at most four classes, over all
   weights.

     tfl_gather        the features that are not zero; returns where the next one would lie
     tfl_forward_<w>   z[c] = sum of (m[row][c] >> 16) * value over the features
     tfl_update_<w>    m[row][c] -= g[c] * value for each feature
     tfl_clamp_weights m[i] within -2^30..2^30 - 1
   |value| <= 255; |z| < 2^31; |g * value| < 2^25, |m| < 2^30 + 32 * 2^25 = 2^31. n >= 1.

   A feature is one word, so that its row costs one addition: the value in the lower half, 16 * row in the upper one,
   which is where the row begins in a block of four classes. */
#ifndef TFL_HEAD_BLOCK_H
#define TFL_HEAD_BLOCK_H

#include "ops/kernel.h"

static inline uint32_t tfl_feature(unsigned row, int32_t value)
{
    return (uint32_t)row << 20 | ((uint32_t)value & 0xFFFFu);
}

static inline int32_t tfl_feature_value(uint32_t feature)
{
    return (int16_t)(uint16_t)feature;
}

static inline uint32_t tfl_feature_row(uint32_t feature)
{
    return feature >> 20;
}

#if defined(__thumb2__)

static inline uint32_t *tfl_gather(uint32_t *x, const int8_t *q, const int8_t *offset, unsigned n)
{
    const int8_t *end = q + n;
    uint32_t value, zero, feature = 0;

    __asm volatile("1:\n\t"
                   "ldrsb %[value], [%[q]], #1\n\t"
                   "ldrsb %[zero], [%[offset]], #1\n\t"
                   "subs %[value], %[value], %[zero]\n\t"
                   "beq 2f\n\t"
                   "bfi %[feature], %[value], #0, #16\n\t"
                   "str %[feature], [%[x]], #4\n"
                   "2:\n\t"
                   "add %[feature], %[feature], #0x100000\n\t"
                   "cmp %[q], %[end]\n\t"
                   "bne 1b"
                   : [x] "+r"(x), [q] "+r"(q), [offset] "+r"(offset), [value] "=&r"(value), [zero] "=&r"(zero),
                     [feature] "+r"(feature)
                   : [end] "r"(end)
                   : "cc", "memory");
    return x;
}

#else

static inline uint32_t *tfl_gather(uint32_t *x, const int8_t *q, const int8_t *offset, unsigned n)
{
    for (unsigned row = 0; row < n; row++) {
        int32_t value = q[row] - offset[row];

        if (value != 0) {
            *x++ = tfl_feature(row, value);
        }
    }
    return x;
}

#endif

#if defined(__GNUC__)
#define TFL_INLINE static inline __attribute__((always_inline))
#else
#define TFL_INLINE static inline
#endif

/* Inlined with a constant width: one loop for each, its sums in registers. */
TFL_INLINE void tfl_forward(const int32_t *block, unsigned width, const uint32_t *x, unsigned n, int32_t *z)
{
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;

    for (const uint32_t *end = x + n; x != end; x++) {
        const int32_t *m = block + tfl_feature_row(*x) * width;
        int32_t value = tfl_feature_value(*x);

        sum0 += (m[0] >> 16) * value;
        sum1 += width > 1u ? (m[1] >> 16) * value : 0;
        sum2 += width > 2u ? (m[2] >> 16) * value : 0;
        sum3 += width > 3u ? (m[3] >> 16) * value : 0;
    }
    z[0] = sum0;
    if (width > 1u) {
        z[1] = sum1;
    }
    if (width > 2u) {
        z[2] = sum2;
    }
    if (width > 3u) {
        z[3] = sum3;
    }
}

TFL_INLINE void tfl_update(int32_t *block, unsigned width, const uint32_t *x, unsigned n, const int32_t *g)
{
    int32_t g0 = g[0], g1 = width > 1u ? g[1] : 0, g2 = width > 2u ? g[2] : 0, g3 = width > 3u ? g[3] : 0;

    for (const uint32_t *end = x + n; x != end; x++) {
        int32_t *m = block + tfl_feature_row(*x) * width;
        int32_t value = tfl_feature_value(*x);

        m[0] -= g0 * value;
        if (width > 1u) {
            m[1] -= g1 * value;
        }
        if (width > 2u) {
            m[2] -= g2 * value;
        }
        if (width > 3u) {
            m[3] -= g3 * value;
        }
    }
}

#if defined(__ARM_FEATURE_SAT)

/* Four weights a turn, then those that are left. */
static inline void tfl_clamp_weights(int32_t *m, uint32_t count)
{
    int32_t *last = m + (count & ~3u), *end = m + count;

    __asm volatile("b 2f\n"
                   "1:\n\t"
                   "ldm %[m], {r0-r3}\n\t"
                   "ssat r0, #31, r0\n\t"
                   "ssat r1, #31, r1\n\t"
                   "ssat r2, #31, r2\n\t"
                   "ssat r3, #31, r3\n\t"
                   "stmia %[m]!, {r0-r3}\n"
                   "2:\n\t"
                   "cmp %[m], %[last]\n\t"
                   "bne 1b"
                   : [m] "+r"(m)
                   : [last] "r"(last)
                   : "r0", "r1", "r2", "r3", "cc", "memory");
    for (; m != end; m++) {
        __asm("ssat %0, #31, %0" : "+r"(*m) : : "cc");
    }
}

#else

/* Its upper bits are equal where a weight is in range, as most are. */
static inline void tfl_clamp_weights(int32_t *m, uint32_t count)
{
    for (const int32_t *end = m + count; m != end; m++) {
        int32_t weight = *m;

        if ((int32_t)((uint32_t)weight ^ (uint32_t)weight << 1) < 0) {
            *m = weight >> 31 ^ 0x3FFFFFFF;
        }
    }
}

#endif

#if defined(__thumb2__) && TFL_ALL_REGISTERS
#include "head_v7m.h"
#elif defined(__ARM_ARCH_6M__) && TFL_ALL_REGISTERS
#include "head_v6m.h"
#else

static inline void tfl_forward_3(const int32_t *block, const uint32_t *x, unsigned n, int32_t *z)
{
    tfl_forward(block, 3, x, n, z);
}

static inline void tfl_forward_4(const int32_t *block, const uint32_t *x, unsigned n, int32_t *z)
{
    tfl_forward(block, 4, x, n, z);
}

static inline void tfl_update_3(int32_t *block, const uint32_t *x, unsigned n, const int32_t *g)
{
    tfl_update(block, 3, x, n, g);
}

static inline void tfl_update_4(int32_t *block, const uint32_t *x, unsigned n, const int32_t *g)
{
    tfl_update(block, 4, x, n, g);
}

#endif

#endif
