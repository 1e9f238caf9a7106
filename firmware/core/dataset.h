/* The board's samples as embeddings. As many as fit the port's spare RAM are kept; the others are computed again each time:
   the cache changes speed, never a bit of the result. */
#ifndef TFL_DATASET_H
#define TFL_DATASET_H

#include "tfl/tfl_node.h"

/* An embedding, int8[N], valid until the next call; and its class, below C. */
struct tfl_example {
    const int8_t *embedding;
    unsigned label;
};

static inline uint32_t tfl_ticks(const struct tfl_port *port)
{
    return port->ticks != 0 ? port->ticks(port->context) : 0u;
}

/* Adds what began at the tick `start`. */
void tfl_meter_add(struct tfl_meter *meter, const struct tfl_port *port, uint32_t start);

void tfl_dataset_init(struct tfl_dataset *dataset, const struct tfl_node_config *config);

/* 0; TFL_ERROR_SAMPLE where the port fails, or gives a class that the head does not have. */
int tfl_dataset_get(struct tfl_dataset *dataset, unsigned split, uint32_t index, struct tfl_example *example) TFL_CHECKED;

/* Keeps one more sample of a board without a data source; 0 or TFL_ERROR_SPACE. */
int tfl_dataset_feed(struct tfl_dataset *dataset, unsigned split, uint8_t label, const int8_t *input) TFL_CHECKED;

/* True where the port's samples do not fit the model. */
static inline int tfl_dataset_mismatch(const struct tfl_dataset *dataset)
{
    return dataset->port->sample != 0 && dataset->port->sample_bytes != dataset->model->input_bytes;
}

#endif
