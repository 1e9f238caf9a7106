/* Requantisation with Helium. */
#ifndef TFL_MVE_H
#define TFL_MVE_H

#include "kernel.h"

#include <arm_mve.h>

/* To the layer's range. */
static inline int32x4_t tfl_clamp_four(const struct tfl_scaling *s, int32x4_t y)
{
    return vminq_s32(vmaxq_s32(y, vdupq_n_s32(s->low)), vdupq_n_s32(s->high));
}

/* Four accumulators of four channels: tfl_rounded and the clamp. VQRDMULH is floor(acc m / 2^31 + 1/2). */
static inline int32x4_t tfl_scale_four(const struct tfl_scaling *s, int32x4_t acc, int32x4_t multipliers,
                                       int32x4_t offsets, int32x4_t shifts)
{
    int32x4_t y = vaddq_s32(vshrq_n_s32(acc, 31), offsets);

    return tfl_clamp_four(s, vshlq_s32(vaddq_s32(y, vqrdmulhq_s32(acc, multipliers)), shifts));
}

/* Four accumulators of one channel: VQRDMLAH adds the same. */
static inline int32x4_t tfl_scale_four_alike(const struct tfl_scaling *s, int32x4_t acc, const int32_t *words)
{
    int32x4_t y = vaddq_n_s32(vshrq_n_s32(acc, 31), words[2]);

    return tfl_clamp_four(s, vshlq_r_s32(vqrdmlahq_n_s32(y, acc, words[1]), words[3]));
}

#endif
