/* Training the head in integers (docs/DESIGN.md, "Training in integers"); the twin is tinyfl/reference/head.py.

   The head is softmax(W x + b) on the int8 embedding of the frozen backbone. Weights lie in wire order: blocks of four
   classes (the last one has what is left), each block row by row; the row behind the features is the bias's. Master
   weights have unit 2^-(fw + 16), broadcast weights and logits 2^-fw. */
#ifndef TFL_HEAD_H
#define TFL_HEAD_H

#include "tfl/tfl_node.h"

#define TFL_HEAD_CLAMP_STEPS 32u  /* steps that cannot overflow the master weights after a clamp */
#define TFL_HEAD_MIN_RATE 0x4000u
#define TFL_HEAD_MAX_RATE 0x8000u
#define TFL_HEAD_MIN_RATE_SHIFT 13u
#define TFL_HEAD_MAX_RATE_SHIFT 30u

/* What one sample showed. */
struct tfl_outcome {
    uint16_t loss; /* 1 - p[label], Q15, 0..32767 */
    uint8_t right; /* 1: the first of the largest logits is the label's */
};

static inline uint32_t tfl_head_count(const struct tfl_head_format *format)
{
    return ((uint32_t)format->features + 1u) * format->classes;
}

/* Broadcast and master weights as the model was compiled. */
void tfl_head_reset(struct tfl_head *head);

/* One step of stochastic gradient descent on the embedding q; rate and rate_shift within their range, label a class. */
struct tfl_outcome tfl_head_step(struct tfl_head *head, const int8_t *q, unsigned label, uint32_t rate,
                                 unsigned rate_shift);

/* The two halves of a step, for an adapter to step in between: the errors e, Q15, in the logits' place (their magnitudes
   sum up to 65534 at most); then the update with them. active: how many features the embedding has that are not zero. */
struct tfl_outcome tfl_head_error(struct tfl_head *head, const int8_t *q, unsigned label, unsigned *active);
void tfl_head_descend(struct tfl_head *head, unsigned active, uint32_t rate, unsigned rate_shift);

/* Due after every TFL_HEAD_CLAMP_STEPS steps of an epoch and at its end; of an adapter's weights too. */
void tfl_head_clamp(const struct tfl_tensor *weights);

/* The proximal step of FedProx, due with the clamp: takes each master weight back by pull / 2^16 of its way from the
   broadcast weight, rounded at random; pull < 2^16. random: never 0; returns what the next one starts from. */
uint32_t tfl_head_return(struct tfl_head *head, uint32_t pull, uint32_t random) TFL_CHECKED;

/* The outcome of a forward pass with the broadcast (trained = 0) or the master weights (1). */
struct tfl_outcome tfl_head_evaluate(struct tfl_head *head, const int8_t *q, unsigned label, int trained);

/* The order of an epoch's samples: at, at + step, ... modulo count >= 1; random from tfl_mix. */
void tfl_order_start(struct tfl_order *order, uint32_t count, uint32_t random);

static inline void tfl_order_next(struct tfl_order *order)
{
    order->at += order->step; /* < 2 * count */
    order->at -= order->at >= order->count ? order->count : 0u;
}

#endif
