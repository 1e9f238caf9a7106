/* What the generated C of a model offers to the core: one constant struct. The core knows no model by name. */
#ifndef TFL_MODEL_H
#define TFL_MODEL_H

#include <stdint.h>

#include "tfl_config.h"

#define TFL_MODEL_HASH_BYTES 16u

/* Constants of an adapter (docs/DESIGN.md, "Adapter"); see tinyfl/graph.py, AdapterFormat. */
struct tfl_adapter_format {
    const int8_t *offset; /* [N], of the backbone's embedding; the head's are those of what it sees of it */
    uint16_t group;       /* features of a group, 1..N; the last group has what is left */
};

/* Constants of the trainable head; see tinyfl/graph.py, HeadFormat. */
struct tfl_head_format {
    uint16_t features;      /* N <= 256 */
    uint16_t classes;       /* C */
    uint8_t fw;             /* fraction bits of weights and logits, 5..20 */
    uint8_t bias_value;     /* value of the bias feature: power of two, 1..128 */
    const int8_t *offset;   /* [N] */
    const int16_t *initial; /* [(N + 1) * C] in wire order: blocks of four classes, each block row by row */
    const uint8_t *held;    /* null, or a bit for each weight in wire order, from bit 0 on; 1: pruned, does not learn */
    const struct tfl_adapter_format *adapter; /* before the head; null: none */
};

/* Built with TFL_ADAPTER 0 this is known, and the linker leaves the adapter's code out. */
static inline int tfl_has_adapter(const struct tfl_head_format *head)
{
    return TFL_ADAPTER != 0 && head->adapter != 0;
}

struct tfl_model {
    const char *name;
    const uint8_t *hash; /* TFL_MODEL_HASH_BYTES */
    uint32_t arena_bytes;
    uint32_t input_offset; /* in the arena */
    uint32_t input_bytes;
    uint32_t output_offset;
    uint32_t output_bytes;
    uint32_t embedding_offset; /* int8[N], valid after the backbone has run */
    uint16_t layers;           /* the whole model */
    uint16_t backbone_layers;  /* layers [0, backbone_layers) give the embedding */
    const struct tfl_head_format *head; /* null: the model has no trainable head */
    void (*run)(int8_t *arena, unsigned first, unsigned last); /* runs layers [first, last) in order */
};

/* Defined by the generated build/<model>/c/model.c, beside generated sizes in model.h (TFL_MODEL_ARENA_BYTES, ...). */
extern const struct tfl_model tfl_model;

#endif
