/* Depthwise convolution with Helium: VMLADAV adds the products of sixteen inputs and weights, so a filter of up to four
   lines and four columns takes one instruction an output. A channel's plane lies in scratch as words, each of them four
   lines of one column: a group of output lines has a row of such words, and four of them are a patch. With stride 1 a
   group is two output lines, the lower one with the filter moved down by a byte; else one line.

   Outputs may lie where inputs were. Where a whole plane is in scratch (band = all lines), all groups are loaded before
   the first output is written. Else the first n output lines overwrite no more than the first n input lines
   (tinyfl/compiler/ops/depthwise_conv2d.py: overlap): the next group is loaded beforehand if it begins with one of
   those, as it does at stride 1 with padding, which is no more than one line. */
#ifndef TFL_PATCHES_MVE_H
#define TFL_PATCHES_MVE_H

#include "mve.h"

#define TFL_PATCH 4u /* lines and columns */

struct tfl_patches {
    uint32_t *words;
    uint32_t pitch; /* words of a group */
    uint32_t lines; /* output lines of a group */
    uint32_t groups, ahead;
    uint8x16_t taps; /* where a patch's weights lie in a filter */
    mve_pred16_t inside;
    uint32x4_t padding; /* zero points */
    uint32x4_t bytes;   /* predicates of each line's byte in all words */
    int32x4_t low, high;
    uint32x4_t where, alone; /* from an output to those on the right and below; the same without those below */
};

static inline int tfl_patches_pair_up(const struct tfl_depthwise_conv2d *op)
{
    return op->scaling.kind != TFL_SCALE_ANY && op->lines.stride == 1 && op->along.stride == 1 &&
           op->lines.kernel < TFL_PATCH && op->along.out > 1;
}

/* Whether the filter is a patch, and the groups fit into the scratch of taps.h. */
static inline int tfl_patches_set(struct tfl_patches *p, const struct tfl_depthwise_conv2d *op, int8_t *scratch)
{
    const struct tfl_axis *lines = &op->lines, *along = &op->along;
    uint32_t depth = (op->band - 1u) * lines->stride + lines->kernel;
    uint32_t words = (uint32_t)lines->kernel * along->kernel + 1u + ((along->out + 3u) & ~3u) + op->pitch * depth / 2u;

    p->words = (uint32_t *)(void *)scratch;
    p->pitch = (along->out - 1u) * along->stride + along->kernel;
    p->lines = tfl_patches_pair_up(op) ? 2u : 1u;
    p->groups = (lines->out + p->lines - 1u) / p->lines;
    p->ahead = op->band == lines->out ? p->groups : lines->stride == 1 && lines->before > 0 ? 2u : 1u;
    return lines->kernel <= TFL_PATCH && along->kernel <= TFL_PATCH &&
           p->ahead * p->pitch + TFL_PATCH - 1u <= words; /* the last patch reaches beyond the last word */
}

/* Byte 4 j + i of a patch: line i of column j. */
static inline void tfl_patches_begin(struct tfl_patches *p, const struct tfl_depthwise_conv2d *op)
{
    uint32_t padding = (uint8_t)op->in_zero_point * 0x01010101u;
    uint8_t taps[16];
    uint32_t inside = 0;

    for (uint32_t i = 0; i < 16u; i++) {
        uint32_t line = i % TFL_PATCH, column = i / TFL_PATCH;

        taps[i] = (uint8_t)(line * op->along.kernel + column);
        inside |= line < op->lines.kernel && column < op->along.kernel ? 1u << i : 0u;
    }
    p->taps = vldrbq_u8(taps);
    p->bytes = vshlq_u32(vdupq_n_u32(0x1111), vreinterpretq_s32_u32(vidupq_n_u32(0, 1)));
    p->padding = vreinterpretq_u32_s8(vdupq_n_s8(op->in_zero_point));
    p->alone = vmulq_n_u32(vshrq_n_u32(vidupq_n_u32(0, 1), 1), op->along.out_step);
    p->where = vmlaq_n_u32(p->alone, vandq_u32(vidupq_n_u32(0, 1), vdupq_n_u32(1)), op->lines.out_step);
    p->low = vdupq_n_s32(op->scaling.low);
    p->high = vdupq_n_s32(op->scaling.high);
    p->inside = (mve_pred16_t)inside;
    for (uint32_t i = 0; i < p->ahead * p->pitch; i++) {
        p->words[i] = padding;
    }
}

/* The words of one group: lines y to y + 3 of the input, which may lie in the padding. */
static TFL_ALONE void tfl_patches_load(const struct tfl_patches *p, const struct tfl_depthwise_conv2d *op,
                                       const int8_t *in, int32_t y, uint32_t *to)
{
    int32x4_t lines = vaddq_n_s32(vreinterpretq_s32_u32(vidupq_n_u32(0, 1)), y);
    int32x4_t near = vminq_s32(vmaxq_s32(lines, vdupq_n_s32(0)), vdupq_n_s32(op->lines.in - 1));
    int32x4_t from = vmlaq_n_s32(vdupq_n_s32((int32_t)(intptr_t)in), near, (int32_t)op->lines.in_step);
    uint32_t inside = vaddvq_p_u32(p->bytes, vcmpeqq_s32(lines, near));
    uint32_t step = op->along.in_step;
    uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 1), step);
    uint32_t count = op->along.in;

    to += op->along.before;
    step *= 4u;
    /* P0 has no name here; behind this, nobody needs it. */
    __asm volatile("vmsr p0, %[inside]\n\t"
                   "dlstp.32 lr, %[count]\n"
                   "1:\n\t"
                   "vldrb.u32 q0, [%[line0], %q[offsets]]\n\t"
                   "vldrb.u32 q1, [%[line1], %q[offsets]]\n\t"
                   "vldrb.u32 q2, [%[line2], %q[offsets]]\n\t"
                   "vldrb.u32 q3, [%[line3], %q[offsets]]\n\t"
                   "vsli.32 q0, q1, #8\n\t"
                   "vsli.32 q0, q2, #16\n\t"
                   "vsli.32 q0, q3, #24\n\t"
                   "vpsel q0, q0, %q[padding]\n\t"
                   "vstrw.32 q0, [%[to]], #16\n\t"
                   "vadd.i32 %q[offsets], %q[offsets], %[step]\n\t"
                   "letp lr, 1b"
                   : [to] "+r"(to), [offsets] "+w"(offsets)
                   : [line0] "r"(from[0]), [line1] "r"(from[1]), [line2] "r"(from[2]), [line3] "r"(from[3]),
                     [step] "r"(step), [count] "r"(count), [inside] "r"(inside), [padding] "w"(p->padding)
                   : "lr", "q0", "q1", "q2", "q3", "memory");
}

/* What a loop over outputs needs besides inputs and weights. */
struct tfl_patch_row {
    const uint32_t *x;
    int8_t *out;
    const int32_t *channel;
    uint32x4_t where;
    int32x4_t low, high;
};

/* Sums r0, r2, r4, r6 to outputs. */
#define TFL_FOUR_OUTPUTS                       \
    "vmov q0[2], q0[0], r0, r4\n\t"            \
    "vmov q0[3], q0[1], r2, r6\n\t"            \
    "ldmia %[channel], {r0, r2, r4, r6}\n\t"   \
    "vadd.i32 q0, q0, r0\n\t"                  \
    "vshr.s32 q1, q0, #31\n\t"                 \
    "vadd.i32 q1, q1, r4\n\t"                  \
    "vqrdmlah.s32 q1, q0, r2\n\t"              \
    "vshl.s32 q1, r6\n\t"                      \
    "vmax.s32 q1, q1, %q[low]\n\t"             \
    "vmin.s32 q1, q1, %q[high]\n\t"            \
    "vstrb.32 q1, [%[out], %q[where]]\n\t"
#define TFL_ROW_OPERANDS(row) \
    [channel] "r"((row)->channel), [where] "w"((row)->where), [low] "w"((row)->low), [high] "w"((row)->high)

/* Two output lines, two columns a turn; where their number is odd (the carry), the last but one once more. count:
   columns; step: bytes from a column to the second next. */
static inline void tfl_patch_pairs(const struct tfl_patch_row *row, int8x16_t upper, int8x16_t lower, uint32_t count,
                                   uint32_t step)
{
    const uint32_t *x = row->x;
    int8_t *out = row->out;

    __asm volatile("lsrs %[count], %[count], #1\n\t"
                   "dls lr, %[count]\n"
                   "1:\n\t"
                   "vldrw.u32 q0, [%[x]], #4\n\t"
                   "vldrw.u32 q1, [%[x]], #4\n\t"
                   "vmladav.s8 r0, q0, %q[upper]\n\t"
                   "vmladav.s8 r2, q0, %q[lower]\n\t"
                   "vmladav.s8 r4, q1, %q[upper]\n\t"
                   "vmladav.s8 r6, q1, %q[lower]\n\t"
                   TFL_FOUR_OUTPUTS
                   "add %[out], %[step]\n\t"
                   "le lr, 1b\n\t"
                   "bcc 2f\n\t"
                   "sub %[x], #4\n\t"
                   "sub %[out], %[out], %[step], lsr #1\n\t"
                   "movs %[count], #2\n\t"
                   "lsrs %[count], %[count], #1\n\t"
                   "dls lr, %[count]\n\t"
                   "b 1b\n"
                   "2:"
                   : [x] "+r"(x), [out] "+r"(out), [count] "+r"(count)
                   : [upper] "w"(upper), [lower] "w"(lower), [step] "r"(step), TFL_ROW_OPERANDS(row)
                   : "r0", "r2", "r4", "r6", "lr", "q0", "q1", "cc", "memory");
}

/* `count` times four outputs of a line. apart: bytes from a patch to the next one; step: from an output to the fourth
   next. */
static TFL_ALONE void tfl_patch_fours(const struct tfl_patch_row *row, int8x16_t w, uint32_t count, uint32_t apart,
                                      uint32_t step)
{
    const uint32_t *x = row->x;
    int8_t *out = row->out;

#define TFL_PATCH_SUM(acc)          \
    "vldrw.u32 q0, [%[x]]\n\t"      \
    "add %[x], %[apart]\n\t"        \
    "vmladav.s8 " acc ", q0, %q[w]\n\t"
    __asm volatile("dls lr, %[count]\n"
                   "1:\n\t"
                   TFL_PATCH_SUM("r0")
                   TFL_PATCH_SUM("r2")
                   TFL_PATCH_SUM("r4")
                   TFL_PATCH_SUM("r6")
                   TFL_FOUR_OUTPUTS
                   "add %[out], %[step]\n\t"
                   "le lr, 1b"
                   : [x] "+r"(x), [out] "+r"(out), [count] "+r"(count)
                   : [w] "w"(w), [apart] "r"(apart), [step] "r"(step), TFL_ROW_OPERANDS(row)
                   : "r0", "r2", "r4", "r6", "lr", "q0", "q1", "cc", "memory");
#undef TFL_PATCH_SUM
}

/* Any kind of requantisation, output by output. */
static TFL_ALONE void tfl_patch_any(const struct tfl_scaling *s, const struct tfl_patch_row *row, int8x16_t w,
                                    const struct tfl_axis *along)
{
    const uint32_t *x = row->x;
    int8_t *out = row->out;

    for (uint32_t left = along->out; left > 0; left--) {
        *out = tfl_scale(s, vmladavaq_s8(row->channel[0], vreinterpretq_s8_u32(vldrwq_u32(x)), w), row->channel);
        x += along->stride;
        out += along->out_step;
    }
}

/* One output line. */
static inline void tfl_patch_line(struct tfl_patch_row *row, int8x16_t w, const struct tfl_axis *along)
{
    uint32_t step = along->out_step;

    if (along->out >= 4) {
        row->where = vmulq_n_u32(vidupq_n_u32(0, 1), step);
        tfl_patch_fours(row, w, along->out / 4u, 4u * along->stride, 4u * step);
        row->x += (along->out & ~3u) * along->stride;
        row->out += (along->out & ~3u) * step;
    }
    row->where = vdupq_n_u32(0);
    for (uint32_t left = along->out & 3u; left > 0; left--) { /* four times the same one */
        tfl_patch_fours(row, w, 1u, 0u, 0u);
        row->x += along->stride;
        row->out += step;
    }
}

static inline int8x16_t tfl_patches_weights(const struct tfl_patches *p, const struct tfl_depthwise_conv2d *op,
                                            uint32_t c)
{
    return vldrbq_gather_offset_z_s8(op->weights + c * op->lines.kernel * op->along.kernel, p->taps, p->inside);
}

/* Output lines first..last - 1 of channel c, in pairs; a line without another one is done twice. words: of the first
   group. */
static TFL_ALONE void tfl_patches_two(const struct tfl_patches *p, const struct tfl_depthwise_conv2d *op, uint32_t c,
                                      uint32_t first, uint32_t last, const uint32_t *words, int8_t *out)
{
    uint32_t step = op->along.out_step, down = op->lines.out_step;
    struct tfl_patch_row row;
    int8x16_t upper = tfl_patches_weights(p, op, c);
    int8x16_t lower = vreinterpretq_s8_u32(vshlq_n_u32(vreinterpretq_u32_s8(upper), 8));

    row.channel = op->scaling.channels + 4u * c;
    row.low = p->low;
    row.high = p->high;
    row.where = p->where;
    row.x = words;
    row.out = out + c + first * down;
    for (uint32_t pairs = (last - first) / 2u; pairs > 0; pairs--) {
        tfl_patch_pairs(&row, upper, lower, op->along.out, 2u * step);
        row.x += p->pitch;
        row.out += 2u * down;
    }
    if (((last - first) & 1u) != 0u) {
        row.where = p->alone;
        tfl_patch_pairs(&row, upper, upper, op->along.out, 2u * step);
    }
}

/* The same line by line. */
static TFL_ALONE void tfl_patches_one(const struct tfl_patches *p, const struct tfl_depthwise_conv2d *op, uint32_t c,
                                      uint32_t first, uint32_t last, const uint32_t *words, int8_t *out)
{
    int8x16_t w = tfl_patches_weights(p, op, c);
    struct tfl_patch_row row;

    row.channel = op->scaling.channels + 4u * c;
    row.low = p->low;
    row.high = p->high;
    for (; first < last; first++) {
        row.x = words;
        row.out = out + c + first * op->lines.out_step;
        if (op->scaling.kind == TFL_SCALE_ANY) {
            tfl_patch_any(&op->scaling, &row, w, &op->along);
        } else {
            tfl_patch_line(&row, w, &op->along);
        }
        words += p->pitch;
    }
}

static TFL_ALONE void tfl_patches_run(struct tfl_patches *p, const struct tfl_depthwise_conv2d *op, const int8_t *in,
                                      int8_t *out)
{
    uint32_t run = p->ahead == p->groups ? p->groups : 1u; /* how many groups a turn */

    tfl_patches_begin(p, op);
    for (uint32_t c = 0; c < op->channels; c++) {
        uint32_t loaded = 0, free = 0, full = 0; /* where the next group goes, and which one is next */
        int32_t y = -(int32_t)op->lines.before;

        for (uint32_t group = 0; group < p->groups; group += run) {
            uint32_t first = group * p->lines;
            uint32_t last = (uint32_t)tfl_min((int32_t)((group + run) * p->lines), op->lines.out);

            for (; loaded < p->groups && loaded < group + p->ahead; loaded++) {
                tfl_patches_load(p, op, in + c, y, p->words + free);
                y += (int32_t)(p->lines * op->lines.stride);
                free = free + p->pitch == p->ahead * p->pitch ? 0u : free + p->pitch;
            }
            for (uint32_t m = 0; m < op->fan_out; m++) {
                if (p->lines == 2u) {
                    tfl_patches_two(p, op, c * op->fan_out + m, first, last, p->words + full, out);
                } else {
                    tfl_patches_one(p, op, c * op->fan_out + m, first, last, p->words + full, out);
                }
            }
            full = full + p->pitch == p->ahead * p->pitch ? 0u : full + p->pitch;
        }
    }
}

#endif
