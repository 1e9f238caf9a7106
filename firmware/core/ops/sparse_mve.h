/* tfl_sparse_conv2d for CPUs with Helium, whose VMLADAVA multiplies sixteen bytes whether they are zero or not: a
   channel's weights are unpacked once for all pixels of a turn. Scratch holds these and as many pixels' windows as fit,
   in blocks of sixteen; what lies behind a window meets zeros. */
#ifndef TFL_SPARSE_MVE_H
#define TFL_SPARSE_MVE_H

#include "mve.h"

#define TFL_BLOCK_BYTES 16u
#define TFL_PITCH(op) ((int32_t)(((op)->row + TFL_BLOCK_BYTES - 1u) & ~(TFL_BLOCK_BYTES - 1u)))
#define TFL_LEAST_BLOCKS 5 /* of scratch for each block of a row: tinyfl/compiler/ops/conv2d.py */

/* Returns where the next channel's weights lie. */
static const int8_t *unpack(const int8_t *w, int8_t *row, const int8_t *end)
{
    for (; row != end; row += TFL_GROUP) {
        uint32_t mask = (uint32_t)(uint8_t)*w++ << 24;

        vstrbq_p_s8(row, vdupq_n_s8(0), 0xFF); /* eight zeros */
        while (mask != 0) {
            uint32_t i = (uint32_t)__builtin_clz(mask);

            row[i] = *w++;
            mask &= ~(0x80000000u >> i);
        }
    }
    return w;
}

static void copy_window(int8_t *to, const int8_t *from, uint32_t count)
{
    for (; (int32_t)count > 0; count -= TFL_BLOCK_BYTES) {
        vstrbq_s8(to, vldrbq_z_s8(from, vctp8q(count)));
        to += TFL_BLOCK_BYTES;
        from += TFL_BLOCK_BYTES;
    }
}

/* Row times each of four windows. */
static inline int32x4_t dot_four(const int8_t *windows, const int8_t *row, uint32_t pitch)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;

    for (const int8_t *end = row + pitch; row != end; row += TFL_BLOCK_BYTES) {
        int8x16_t w = vldrbq_s8(row);

        s0 = vmladavaq_s8(s0, vldrbq_s8(windows), w);
        s1 = vmladavaq_s8(s1, vldrbq_s8(windows + pitch), w);
        s2 = vmladavaq_s8(s2, vldrbq_s8(windows + 2u * pitch), w);
        s3 = vmladavaq_s8(s3, vldrbq_s8(windows + 3u * pitch), w);
        windows += TFL_BLOCK_BYTES;
    }
    return (int32x4_t){s0, s1, s2, s3};
}

/* One channel, four pixels at a time; of the last four some may have been there before. With less than four pixels, the
   windows behind them hold anything. */
static TFL_ALONE void channel_of_pixels(const struct tfl_conv2d *op, const int8_t *row, const int32_t *words,
                                        int32_t count, int8_t *out)
{
    const struct tfl_scaling *s = &op->scaling;
    const int32_t pitch = TFL_PITCH(op), step = op->window.out_c;
    const uint32x4_t where = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)step);

    for (int32_t next = 0; next < count; next += 4) {
        int32_t i = tfl_max(tfl_min(next, count - 4), 0);
        int32x4_t sums = dot_four(row + (i + 1) * pitch, row, (uint32_t)pitch);

        if (s->kind == TFL_SCALE_ANY) {
            for (int32_t k = 0; k < tfl_min(4, count); k++) {
                out[(i + k) * step] = tfl_scale(s, sums[k] + words[0], words);
            }
        } else {
            sums = tfl_scale_four_alike(s, vaddq_n_s32(sums, words[0]), words);
            vstrbq_scatter_offset_p_s32(out + i * step, where, sums, vctp32q((uint32_t)count));
        }
    }
}

void tfl_sparse_conv2d(const struct tfl_conv2d *op, const int8_t *in, int8_t *out, int8_t *scratch)
{
    int32_t pitch = TFL_PITCH(op);
    int32_t most = tfl_max(4 * op->lanes * (int32_t)op->row / pitch, TFL_LEAST_BLOCKS) - 1; /* windows at a time */
    const int8_t *end = scratch + ((op->row + TFL_GROUP - 1u) & ~(TFL_GROUP - 1u));
    int32_t left = op->window.out_h * op->window.out_w, count;
    struct place at = {0, 0};

    vstrbq_s8(scratch + pitch - TFL_BLOCK_BYTES, vdupq_n_s8(0)); /* what unpack leaves alone */
    for (; left > 0; left -= count) {
        const int8_t *w = op->weights;

        count = tfl_min(left, most);
        for (int32_t i = 1; i <= count; i++) {
            const int8_t *from = window_at(op, in, at, scratch + i * pitch);

            if (from != scratch + i * pitch) {
                copy_window(scratch + i * pitch, from, op->row);
            }
            at = next_place(op, at);
        }
        for (uint32_t c = 0; c < op->window.out_c; c++) {
            w = unpack(w, scratch, end);
            channel_of_pixels(op, scratch, op->scaling.channels + 4u * c, count, out + c);
        }
        out += (uint32_t)count * op->window.out_c;
    }
}

#endif
