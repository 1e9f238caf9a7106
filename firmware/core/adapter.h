/* An adapter: a trainable layer between the embedding and the head (docs/DESIGN.md, "Adapter"); the twin is
   tinyfl/reference/adapter.py.

   It adds to each feature what it has learned from the features of the same group and the bias; weights of zero, the
   start, change nothing. Weights lie feature by feature, each with its group's in their order and the bias's behind them.
   Master weights have unit 2^-29, broadcast weights 2^-13. */
#ifndef TFL_ADAPTER_H
#define TFL_ADAPTER_H

#include "head.h"

#define TFL_ADAPTER_MIN_RATE_SHIFT 1u /* the rate's own range is the head's */
#define TFL_ADAPTER_MAX_RATE_SHIFT 30u

/* 0 where the head has none. */
uint32_t tfl_adapter_count(const struct tfl_head_format *format);

/* Weights of zero: the head sees the backbone's embedding. */
void tfl_adapter_reset(struct tfl_adapter *adapter);

/* What the head sees of the embedding q [N] with the broadcast (trained = 0) or the master weights (1), until the next. */
const int8_t *tfl_adapter_forward(struct tfl_adapter *adapter, const int8_t *q, int trained);

/* One step on what tfl_adapter_forward and tfl_head_error saw last, before tfl_head_descend. */
void tfl_adapter_step(struct tfl_adapter *adapter, const struct tfl_head *head, uint32_t rate, unsigned rate_shift);

#endif
