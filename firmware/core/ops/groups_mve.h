/* groups.h for CPUs with Helium: a vector is a group, in the order of its weights. */
#ifndef TFL_GROUPS_MVE_H
#define TFL_GROUPS_MVE_H

#include "mve.h"

/* One output pixel of four channels; returns where the next group's weights lie. */
static inline const int16_t *tfl_group_pixel(const struct tfl_scaling *s, const int8_t *in, const int32_t *taps,
                                             const int16_t *w, uint32_t count, const int32_t *words, int8_t *out)
{
    uint32x4_t order = {0, 2, 1, 3};
    uint32x4_t records = vshlq_n_u32(order, 4);
    int32x4_t y = vldrwq_gather_offset_s32(words, records);

    for (; count > 0; count--) {
        y = vaddq_s32(y, vmulq_s32(vldrbq_gather_offset_s32(in + *taps++, order), vldrhq_s32(w)));
        w += 4;
    }
    if (s->kind == TFL_SCALE_ANY) {
        int32_t acc[4];

        vstrwq_scatter_shifted_offset_s32(acc, order, y);
        tfl_group_scale(s, acc, words, 4u, out);
        return w;
    }
    y = tfl_scale_four(s, y, vldrwq_gather_offset_s32(words + 1, records),
                       vldrwq_gather_offset_s32(words + 2, records), vldrwq_gather_offset_s32(words + 3, records));
    vstrbq_scatter_offset_s32(out, order, y);
    return w;
}

#endif
