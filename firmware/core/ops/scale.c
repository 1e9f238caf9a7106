#include "kernel.h"

static TFL_ALONE int32_t any(const struct tfl_scaling *s, int32_t acc, const int32_t *words)
{
    return tfl_requantize(acc, words[1], -tfl_channel(words).shift) + s->zero_point;
}

/* What tfl_scale_clamp has taken off in the offset is added again. */
static int32_t value(const struct tfl_scaling *s, int32_t acc, const int32_t *words)
{
    int32_t x = tfl_rounded(2 * acc, tfl_channel(words));

#if TFL_LESS_HIGH
    x += s->kind == TFL_SCALE_CLAMP ? s->high : 0;
#else
    (void)s;
#endif
    return x;
}

int8_t tfl_scale(const struct tfl_scaling *s, int32_t acc, const int32_t *words)
{
    int32_t x = s->kind == TFL_SCALE_ANY ? any(s, acc, words) : value(s, acc, words);

    return (int8_t)tfl_clamp(x, s->low, s->high);
}
