#include "patch.h"

#if TFL_MVE

static TFL_ALONE void largest_sixteen(const struct tfl_pool *op, const struct tfl_patch *patch, uint32_t c, int8_t *out)
{
    const int8_t *from = patch->from + c;
    uint32_t step = patch->step;
    mve_pred16_t inside = vctp8q(op->window.out_c - c);
    int8x16_t best = vdupq_n_s8(op->low);

    for (uint32_t rows = patch->rows; rows > 0; rows--) {
        for (uint32_t left = patch->columns; left > 0; left--) {
            best = vmaxq_s8(best, vldrbq_z_s8(from, inside));
            from += step;
        }
        from += patch->skip;
    }
    vstrbq_p_s8(out + c, vminq_s8(best, vdupq_n_s8(op->high)), inside);
}

static inline void largest_of_all(const struct tfl_pool *op, const struct tfl_patch *patch, int8_t *out)
{
    for (uint32_t c = 0; c < op->window.out_c; c += 16u) {
        largest_sixteen(op, patch, c, out);
    }
}

#else
#if defined(__ARM_FEATURE_DSP)

/* Channels c to c + 3. */
static TFL_ALONE void largest_four(const struct tfl_pool *op, const struct tfl_patch *patch, uint32_t c, int8_t *out)
{
    const int8_t *from = patch->from + c;
    uint32_t step = patch->step;
    uint32_t best = tfl_splat(op->low);

    for (uint32_t rows = patch->rows; rows > 0; rows--) {
        for (uint32_t left = patch->columns; left > 0; left--) {
            best = tfl_larger4(best, tfl_load4(from));
            from += step;
        }
        from += patch->skip;
    }
    tfl_store4(out, tfl_smaller4(best, tfl_splat(op->high)));
}

#else

static TFL_ALONE void largest_four(const struct tfl_pool *op, const struct tfl_patch *patch, uint32_t c, int8_t *out)
{
    const int8_t *from = patch->from + c;
    uint32_t step = patch->step;
    int32_t best0 = op->low, best1 = best0, best2 = best0, best3 = best0;

    for (uint32_t rows = patch->rows; rows > 0; rows--) {
        for (uint32_t left = patch->columns; left > 0; left--) {
            best0 = tfl_max(best0, from[0]);
            best1 = tfl_max(best1, from[1]);
            best2 = tfl_max(best2, from[2]);
            best3 = tfl_max(best3, from[3]);
            from += step;
        }
        from += patch->skip;
    }
    out[0] = (int8_t)tfl_min(best0, op->high);
    out[1] = (int8_t)tfl_min(best1, op->high);
    out[2] = (int8_t)tfl_min(best2, op->high);
    out[3] = (int8_t)tfl_min(best3, op->high);
}

#endif

static TFL_ALONE int32_t largest(const struct tfl_patch *patch, uint32_t c, int32_t best)
{
    const int8_t *from = patch->from + c;
    uint32_t step = patch->step;

    for (uint32_t rows = patch->rows; rows > 0; rows--) {
        for (uint32_t left = patch->columns; left > 0; left--) {
            best = tfl_max(best, *from);
            from += step;
        }
        from += patch->skip;
    }
    return best;
}

static inline void largest_of_all(const struct tfl_pool *op, const struct tfl_patch *patch, int8_t *out)
{
    uint32_t c = 0;

    for (; c + 4u <= op->window.out_c; c += 4u) {
        largest_four(op, patch, c, out + c);
    }
    for (; c < op->window.out_c; c++) {
        out[c] = (int8_t)tfl_min(largest(patch, c, op->low), op->high);
    }
}

#endif

void tfl_max_pool(const struct tfl_pool *op, const int8_t *in, int8_t *out)
{
    const struct tfl_window *v = &op->window;

    for (int32_t oy = 0; oy < v->out_h; oy++) {
        for (int32_t ox = 0; ox < v->out_w; ox++) {
            struct tfl_patch patch = tfl_patch(v, in, oy * v->stride_h - v->top, ox * v->stride_w - v->left);

            largest_of_all(op, &patch, out);
            out += v->out_c;
        }
    }
}
