/* Weights that are trained and exchanged together: the head's, the adapter's, or both behind each other.

   Each has a master weight and a broadcast weight of 2^16 times its unit. Training changes the master weights; the
   broadcast ones are those that it began with. */
#ifndef TFL_TENSOR_H
#define TFL_TENSOR_H

#include <stdint.h>

#include "fixed.h"

#define TFL_MAX_WEIGHT 16383 /* of a broadcast weight, either sign */

struct tfl_tensor {
    int32_t *master;     /* [count] */
    int16_t *broadcast;  /* [count] */
    int32_t *residual;   /* [count], of error feedback; null: there is no memory for it */
    const uint8_t *held; /* null, or a bit for each weight: it was pruned and does not learn */
    uint32_t count;
};

/* Whether a weight does not learn: its delta and its residual are zero and not sent. */
static inline unsigned tfl_tensor_holds(const struct tfl_tensor *tensor, uint32_t i)
{
    return tensor->held != 0 ? (uint32_t)tensor->held[i >> 3] >> (i & 7u) & 1u : 0u;
}

/* A master weight as a broadcast one, as the server would round it; |master| <= 2^30. */
static inline int32_t tfl_tensor_rounded(const struct tfl_tensor *tensor, uint32_t i)
{
    return tfl_clamp((tensor->master[i] + 0x8000) >> 16, -TFL_MAX_WEIGHT, TFL_MAX_WEIGHT);
}

/* How many weights learn. */
uint32_t tfl_tensor_free(const struct tfl_tensor *tensor);

/* The master weights from the broadcast ones. */
void tfl_tensor_start(const struct tfl_tensor *tensor);

/* The broadcast weights from the master ones, rounded. */
void tfl_tensor_choose(const struct tfl_tensor *tensor);

/* Master weights rounded to broadcast weights, int16 little-endian. */
void tfl_tensor_pull(const struct tfl_tensor *tensor, uint8_t *weights);

#endif
