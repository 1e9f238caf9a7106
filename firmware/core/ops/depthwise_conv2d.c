#include "taps.h"

#if TFL_HELIUM
#include "patches_mve.h"
#endif

/* Values of one channel, `step` bytes from each other, into a line. */
static TFL_ALONE void gather(int16_t *to, const int8_t *from, uint32_t step, uint32_t count)
{
    for (const int16_t *end = to + (count & ~3u); to != end; to += 4) {
        to[0] = (int16_t)(*from + TFL_TAPS_SHIFT);
        from += step;
        to[1] = (int16_t)(*from + TFL_TAPS_SHIFT);
        from += step;
        to[2] = (int16_t)(*from + TFL_TAPS_SHIFT);
        from += step;
        to[3] = (int16_t)(*from + TFL_TAPS_SHIFT);
        from += step;
    }
    for (count &= 3u; count > 0; count--) {
        *to++ = (int16_t)(*from + TFL_TAPS_SHIFT);
        from += step;
    }
}

static void fill(int16_t *to, uint32_t count, int32_t value)
{
    for (; count > 0; count--) {
        *to++ = (int16_t)value;
    }
}

/* A channel's input lines from y on, which is negative in the padding above. The padding beside an image line is there
   already; where a plane goes through scratch in bands, an image line may have been where padding is now. */
static TFL_ALONE void load_lines(const struct tfl_depthwise_conv2d *op, const int8_t *in, int32_t y, uint32_t lines,
                                 int16_t *to)
{
    const struct tfl_axis *along = &op->along;

    for (; lines > 0; lines--) {
        if (y >= 0 && y < op->lines.in) {
            gather(to + along->before, in + (uint32_t)y * op->lines.in_step, along->in_step, along->in);
        } else if (op->band < op->lines.out) {
            fill(to, op->pitch, op->in_zero_point + TFL_TAPS_SHIFT);
        }
        to += op->pitch;
        y++;
    }
}

/* An even number of values, front to back: `to` lies before `from`. */
static TFL_ALONE void move_up(int16_t *to, const int16_t *from, uint32_t count)
{
    for (; count > 0; count -= 2u) {
        to[0] = from[0];
        to[1] = from[1];
        to += 2;
        from += 2;
    }
}

/* sums: doubled. */
static TFL_ALONE void scale_line(const struct tfl_scaling *s, const int32_t *words, const int32_t *sums, uint32_t count,
                                 int8_t *out, uint32_t step)
{
    const int32_t *end = sums + count;

    if (tfl_scale_saturates(s)) {
        struct tfl_channel channel = tfl_channel(words);
        int32_t twice = 2 * channel.bias;

        if ((count & 1u) != 0u) {
            *out = tfl_scale_full(twice + *sums++, channel);
            out += step;
        }
        while (sums != end) {
            *out = tfl_scale_full(twice + *sums++, channel);
            out += step;
            *out = tfl_scale_full(twice + *sums++, channel);
            out += step;
        }
    }
    if (!TFL_CLAMPS_LATER && tfl_scale_is(s, TFL_SCALE_CLAMP)) {
        struct tfl_channel channel = tfl_channel(words);
        int32_t twice = 2 * channel.bias;
        int32_t low = s->low, range = s->high - low;

        for (; sums != end; out += step) {
            *out = tfl_scale_clamp(twice + *sums++, channel, low, range);
        }
    }
    for (; sums != end; out += step) {
        *out = tfl_scale(s, words[0] + (*sums++ >> 1), words);
    }
}

/* `lines` output lines of one output channel. */
static TFL_ALONE void filter(const struct tfl_depthwise_conv2d *op, const struct tfl_plane *plane, uint32_t c,
                             uint32_t lines, int8_t *out)
{
    const int16_t *x = plane->values;

    tfl_taps_take(op, op->weights + c * op->lines.kernel * op->along.kernel, plane->taps);
    for (out += c; lines > 0; lines--) {
        tfl_taps_sum(op, plane->taps, x, plane->sums);
        scale_line(&op->scaling, op->scaling.channels + 4u * c, plane->sums, op->along.out, out, op->along.out_step);
        x += (uint32_t)op->lines.stride * op->pitch;
        out += op->lines.out_step;
    }
}

/* One input channel, band by band; the lines that the next band needs again move up, since in place the output may have
   overwritten them in the input. */
static void channel(const struct tfl_depthwise_conv2d *op, const struct tfl_plane *plane, const int8_t *in, uint32_t c,
                    int8_t *out)
{
    const struct tfl_axis *axis = &op->lines;
    int32_t y = -(int32_t)axis->before; /* of the first line in scratch */
    uint32_t have = 0;                  /* lines there */
    uint32_t count;

    for (uint32_t done = 0; done < axis->out; done += count) {
        uint32_t need, used;

        count = (uint32_t)tfl_min(op->band, (int32_t)(axis->out - done));
        need = (count - 1u) * axis->stride + axis->kernel;
        if (need > have) {
            load_lines(op, in + c, y + (int32_t)have, need - have, plane->values + have * op->pitch);
            have = need;
        }
        for (uint32_t m = 0; m < op->fan_out; m++) {
            filter(op, plane, c * op->fan_out + m, count, out);
        }
        out += count * axis->out_step;
        used = count * axis->stride;
        y += (int32_t)used;
        have = have > used ? have - used : 0u;
        if (have > 0 && op->band < axis->out) {
            move_up(plane->values, plane->values + used * op->pitch, have * op->pitch);
        }
    }
}

void tfl_depthwise_conv2d(const struct tfl_depthwise_conv2d *op, const int8_t *in, int8_t *out, int8_t *scratch)
{
    struct tfl_plane plane;

#if TFL_HELIUM
    struct tfl_patches patches;

    if (tfl_patches_set(&patches, op, scratch)) {
        tfl_patches_run(&patches, op, in, out);
        return;
    }
#endif
    plane.taps = (int32_t *)(void *)scratch;
    plane.sums = plane.taps + op->lines.kernel * op->along.kernel + 1;
    plane.values = (int16_t *)(void *)(plane.sums + ((op->along.out + 3u) & ~3u));
    fill(plane.values, ((op->band - 1u) * op->lines.stride + op->lines.kernel) * op->pitch,
         op->in_zero_point + TFL_TAPS_SHIFT);
    for (uint32_t c = 0; c < op->channels; c++) {
        channel(op, &plane, in, c, out);
    }
    tfl_clamp_layer(&op->scaling, out, (uint32_t)op->lines.out * op->along.out * op->channels * op->fan_out);
}
