/* What the kernels share: where windows lie, and the way from an accumulator to an int8 output. */
#ifndef TFL_KERNEL_H
#define TFL_KERNEL_H

#include "../fixed.h"
#include "tfl/tfl_ops.h"

/* A function that needs all registers for its loop: inlined, it would have to share them. */
#define TFL_ALONE __attribute__((noinline))

/* Whether inline assembly may take nearly all registers. Without optimisation and in clang, one or two are kept for
   frames; for the fewest bytes, GCC leaves the upper ones of an Armv6-M alone. Then C does the same. */
#if defined(__OPTIMIZE__) && !defined(__clang__) && !(defined(__ARM_ARCH_6M__) && defined(__OPTIMIZE_SIZE__))
#define TFL_ALL_REGISTERS 1
#else
#define TFL_ALL_REGISTERS 0
#endif

/* Whether a layer's outputs, where they are not to have int8's full range, are clamped when all are there: four at a
   time, SIMD clamps for a third of what it costs in the loop. */
#if defined(__ARM_FEATURE_DSP) && !TFL_MVE
#define TFL_CLAMPS_LATER 1
#include "dsp.h"
#else
#define TFL_CLAMPS_LATER 0
#endif

/* Whether kernels are written for Helium. */
#define TFL_HELIUM (TFL_MVE && TFL_ALL_REGISTERS)

/* Whether offsets of TFL_SCALE_CLAMP hold zero point - high (TFL_CHANNEL). */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_FEATURE_DSP)
#define TFL_LESS_HIGH 0
#else
#define TFL_LESS_HIGH 1
#endif

/* The part of a window that lies inside the input: taps [first, last) of one dimension. */
struct tfl_span {
    int32_t first, last;
};

/* origin: where tap 0 lies, negative in the padding. */
static inline struct tfl_span tfl_span(int32_t origin, int32_t kernel, int32_t size)
{
    struct tfl_span span;

    span.first = tfl_max(0, -origin);
    span.last = tfl_min(kernel, size - origin);
    return span;
}

/* One channel's requantisation in registers. */
struct tfl_channel {
    int32_t bias, multiplier, offset, shift;
};

static inline struct tfl_channel tfl_channel(const int32_t *words)
{
    struct tfl_channel channel;

    channel.bias = words[0];
    channel.multiplier = words[1];
    channel.offset = words[2];
    channel.shift = TFL_MVE ? -words[3] : words[3];
    return channel;
}

/* Both of gemmlowp's roundings for twice the accumulator. The first gives t = floor(acc m / 2^31 + 1/2). The second
   divides by 2^shift, half away from zero: (t + 2^(shift - 1) - (t < 0)) >> shift, and the channel's offset holds
   2^(shift - 1) and the zero point. acc has the sign of t; where t is 0, the one taken off does not matter.
   |acc| < 2^29, |t + offset| < 2^31. */
static inline int32_t tfl_rounded(int32_t twice, struct tfl_channel channel)
{
    return (tfl_high_mul_add(twice, channel.multiplier, channel.offset) + (twice >> 31)) >> channel.shift;
}

/* TFL_SCALE_FULL: the clamp is int8's own range. */
static inline int8_t tfl_scale_full(int32_t twice, struct tfl_channel channel)
{
    return (int8_t)tfl_saturate8(tfl_rounded(twice, channel));
}

/* TFL_SCALE_CLAMP. Where the offset holds zero point - high, the value is to be <= 0 and >= -range = low - high. */
static inline int8_t tfl_scale_clamp(int32_t twice, struct tfl_channel channel, int32_t low, int32_t range)
{
#if TFL_LESS_HIGH
    return (int8_t)(tfl_max(tfl_min(tfl_rounded(twice, channel), 0) + range, 0) + low);
#else
    return (int8_t)tfl_clamp(tfl_rounded(twice, channel), low, low + range);
#endif
}

/* Any kind, in scale.c. An Armv6-M has no other way: there a call costs little, and the code is long. */
int8_t tfl_scale(const struct tfl_scaling *s, int32_t acc, const int32_t *words);

/* Whether a layer's requantisation is short enough to stand in its loop. */
static inline int tfl_scale_is(const struct tfl_scaling *s, enum tfl_scale_kind kind)
{
#if defined(__ARM_ARCH_6M__)
    (void)s;
    return kind == TFL_SCALE_ANY;
#else
    return s->kind == kind;
#endif
}

/* Whether a loop that ends with tfl_clamp_layer may take tfl_scale_full. */
static inline int tfl_scale_saturates(const struct tfl_scaling *s)
{
    return tfl_scale_is(s, TFL_SCALE_FULL) || (TFL_CLAMPS_LATER && s->kind == TFL_SCALE_CLAMP);
}

/* Clamps all outputs of a layer where that was left for later; those that are clamped already stay. */
static inline void tfl_clamp_layer(const struct tfl_scaling *s, int8_t *out, uint32_t count)
{
#if TFL_CLAMPS_LATER
    uint32_t low = tfl_splat(s->low), high = tfl_splat(s->high);

    if (s->kind != TFL_SCALE_CLAMP) {
        return;
    }
    for (; count >= 4u; count -= 4u) {
        tfl_store4(out, tfl_smaller4(tfl_larger4(tfl_load4(out), low), high));
        out += 4;
    }
    for (; count > 0; count--) {
        *out = (int8_t)tfl_clamp(*out, s->low, s->high);
        out++;
    }
#else
    (void)s;
    (void)out;
    (void)count;
#endif
}

#endif
