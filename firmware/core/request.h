/* What the handlers of requests have in common (node.c, round.c). */
#ifndef TFL_REQUEST_H
#define TFL_REQUEST_H

#include <string.h>

#include "tfl/tfl_node.h"

#define TFL_LATER 0x7FFFFFFF /* a handler's result: a job will reply */

enum tfl_state {
    TFL_LOADED,  /* the master weights are the broadcast ones */
    TFL_TRAINED, /* a TRAIN of `round` has ended */
    TFL_OFFERED, /* the master weights are the best head that was offered in `round`, the broadcast ones the last */
    TFL_SPOILED  /* a TRAIN, or a round's first OFFER, was broken off: a HEAD must come first */
};

static inline int tfl_refuse(struct tfl_node *node, int status, uint32_t detail)
{
    node->detail = detail;
    return status;
}

static inline void tfl_job_start(struct tfl_node *node, uint8_t type)
{
    memset(&node->job, 0, sizeof node->job);
    memset(&node->dataset.meter, 0, sizeof node->dataset.meter);
    node->job.type = type;
}

#endif
