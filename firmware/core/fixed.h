/* Fixed point, random numbers and little-endian access: the C side of tinyfl/reference/fixed.py. */
#ifndef TFL_FIXED_H
#define TFL_FIXED_H

#include <stdint.h>

/* Right shifts of negative numbers must be arithmetic (floor), as on every compiler that we know. */
typedef char tfl_needs_arithmetic_shift[(-1 >> 1) == -1 ? 1 : -1];

static inline int32_t tfl_min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int32_t tfl_max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static inline int32_t tfl_clamp(int32_t x, int32_t low, int32_t high)
{
    return tfl_min(tfl_max(x, low), high);
}

/* floor(x * m / 2^31 + 1/2): what gemmlowp's SaturatingRoundingDoublingHighMul gives for 0 <= m < 2^31, m Q31. */
static inline int32_t tfl_high_mul(int32_t x, int32_t m)
{
    return (int32_t)(((int64_t)x * m + (1 << 30)) >> 31); /* |x * m| < 2^62, |result| < 2^31 */
}

/* x / 2^shift, rounded half away from zero; 0 <= shift <= 31. */
static inline int32_t tfl_rounding_shift(int32_t x, unsigned shift)
{
    int32_t mask = (int32_t)((1u << shift) - 1u);
    int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);

    return (x >> shift) + ((x & mask) > threshold ? 1 : 0);
}

/* x * multiplier / 2^31 * 2^shift with the two roundings of TFLite's reference kernels; multiplier Q31, 0 or in
   [2^30, 2^31), -31 <= shift <= 30. */
static inline int32_t tfl_requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    if (shift > 0) {
        /* Wraps modulo 2^32 as the reference's int32 multiplication by (1 << shift) does. */
        return tfl_high_mul((int32_t)((uint32_t)x << shift), multiplier);
    }
    return tfl_rounding_shift(tfl_high_mul(x, multiplier), (unsigned)-shift);
}

/* What the fast requantisation of the kernels is made of; each CPU has its own way to the same bits.

   tfl_high_mul_add: floor(x * m / 2^31 + 1/2) + offset for 2 x, |2 x| < 2^30, 0 <= m < 2^31; on an Armv6-M, which has
   but the lower word of a product, 2^14 less (TFL_CHANNEL puts it into the offset);
   tfl_saturate8: x clamped to -128..127. */
#if defined(__ARM_FEATURE_DSP)

/* The upper word of 2 x m + 2^31. */
static inline int32_t tfl_high_mul_add(int32_t twice_x, int32_t m, int32_t offset)
{
    int32_t result;

    __asm("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(twice_x), "r"(m), "r"(offset));
    return result;
}

#elif defined(__ARM_ARCH_6M__)

/* Four products of 16 bits. With 2 x = a 2^16 + b and m = c 2^16 + d: 2 x m + 2^31 =
   a c 2^32 + (a d + b c + 2^15) 2^16 + b d. |a| <= 2^14, so |a d| < 2^30; b c + (b d >> 16) < 2^31 is moved down by
   2^30, which takes 2^14 from the result. */
static inline int32_t tfl_high_mul_add(int32_t twice_x, int32_t m, int32_t offset)
{
    int32_t b, d, sum;

    __asm(".syntax unified\n\t"
          "uxth %[b], %[a]\n\t"
          "asrs %[a], %[a], #16\n\t"
          "uxth %[d], %[c]\n\t"
          "lsrs %[c], %[c], #16\n\t"
          "movs %[sum], %[b]\n\t"
          "muls %[sum], %[d], %[sum]\n\t"
          "lsrs %[sum], %[sum], #16\n\t"
          "muls %[b], %[c], %[b]\n\t"
          "adds %[sum], %[sum], %[b]\n\t"
          "add %[sum], %[middle]\n\t"
          "muls %[d], %[a], %[d]\n\t"
          "adds %[sum], %[sum], %[d]\n\t"
          "asrs %[sum], %[sum], #16\n\t"
          "muls %[a], %[c], %[a]\n\t"
          "adds %[sum], %[sum], %[a]"
          : [a] "+l"(twice_x), [c] "+l"(m), [b] "=&l"(b), [d] "=&l"(d), [sum] "=&l"(sum)
          : [middle] "r"(-0x3FFF8000) /* 2^15 - 2^30 */
          : "cc");
    return sum + offset;
}

#else

/* The upper word of 2 x m, and one more where the lower one is at least a half. */
static inline int32_t tfl_high_mul_add(int32_t twice_x, int32_t m, int32_t offset)
{
    int64_t product = (int64_t)twice_x * m; /* |.| < 2^61 */

    return (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31) + offset;
}

#endif

#if defined(__ARM_FEATURE_SAT)

static inline int32_t tfl_saturate8(int32_t x)
{
    int32_t result;

    __asm("ssat %0, #8, %1" : "=r"(result) : "r"(x) : "cc");
    return result;
}

#else

static inline int32_t tfl_saturate8(int32_t x)
{
    return (uint32_t)(x + 128) > 255u ? (x >> 31) ^ 127 : x;
}

#endif

/* One step of xorshift32 (13, 17, 5); x is never 0. */
static inline uint32_t tfl_xorshift32(uint32_t x)
{
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
}

/* The seed of one stream of random numbers (docs/DESIGN.md, "Seeds"); never 0. */
static inline uint32_t tfl_mix(uint32_t seed, uint32_t round, uint32_t epoch, uint32_t board)
{
    uint32_t h = seed ^ (round * 0x9E3779B1u) ^ (epoch * 0x85EBCA77u) ^ (board * 0xC2B2AE3Du);

    h = h == 0u ? 1u : h;
    return tfl_xorshift32(tfl_xorshift32(tfl_xorshift32(h)));
}

static inline uint16_t tfl_load16_le(const uint8_t *p)
{
    return (uint16_t)((uint32_t)p[0] | (uint32_t)p[1] << 8);
}

static inline uint32_t tfl_load32_le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void tfl_store16_le(uint8_t *p, uint16_t x)
{
    p[0] = (uint8_t)(x & 0xFFu);
    p[1] = (uint8_t)(x >> 8);
}

static inline void tfl_store32_le(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)(x & 0xFFu);
    p[1] = (uint8_t)(x >> 8 & 0xFFu);
    p[2] = (uint8_t)(x >> 16 & 0xFFu);
    p[3] = (uint8_t)(x >> 24);
}

#endif
