/* tfl_conv2d with weights that lie widened in flash: twice the bytes, two instructions less for four of them. Only where
   SMLAD multiplies them; other CPUs have them as they are. */
#include "tfl/tfl_ops.h"

#if defined(__ARM_FEATURE_DSP) && !defined(__ARM_FEATURE_MVE)
#define TFL_WIDE_WEIGHTS 1
#define TFL_CONV2D tfl_wide_conv2d
#include "conv2d.c"
#else

void tfl_wide_conv2d(const struct tfl_conv2d *op, const int8_t *in, int8_t *out, int8_t *scratch)
{
    tfl_conv2d(op, in, out, scratch);
}

#endif
