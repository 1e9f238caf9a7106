/* The node: a board's side of federated learning. It answers requests that come over the port, and has no clock. */
#ifndef TFL_NODE_H
#define TFL_NODE_H

#include "../../core/session.h" /* for their sizes */
#include "../../core/store.h"
#include "tfl_config.h"
#include "tfl_model.h"
#include "tfl_port.h"

/* A feature that is not zero, as training reads it. */
struct tfl_feature {
    int16_t value;
    uint16_t row;
};

struct tfl_head {
    const struct tfl_head_format *format;
    int32_t *master;
    int16_t *broadcast;
    int32_t *logits;
    struct tfl_feature *features;
};

/* How often something was done, and the ticks of all times together; it stops before the ticks would wrap. */
struct tfl_meter {
    uint32_t count, ticks;
    uint8_t full;
};

/* The board's samples as embeddings, from the cache or from the port through the backbone. */
struct tfl_dataset {
    const struct tfl_port *port;
    const struct tfl_model *model;
    int8_t *arena;
    uint8_t *valid; /* a bit a slot */
    uint8_t *slots; /* of N + 1 bytes: embedding, label */
    uint32_t slot_count;
    uint32_t samples[TFL_SPLITS];
    struct tfl_meter meter; /* of the backbone */
};

struct tfl_order {
    uint32_t count, at, step;
};

/* A request that takes more than one sample's time. */
struct tfl_job {
    uint8_t type; /* TFL_MESSAGE_TRAIN, TFL_MESSAGE_EVALUATE, 0: none */
    uint8_t split, trained;
    uint8_t rate_shift;
    uint16_t rate, epochs, epoch;
    uint32_t round, seed, board;
    uint32_t done; /* samples of this epoch */
    uint32_t right, loss;
    struct tfl_order order;
    struct tfl_meter meter; /* of the steps */
};

struct tfl_node {
    struct tfl_session session;
    struct tfl_dataset dataset;
    struct tfl_head head;
    struct tfl_job job;
    struct tfl_store store;
    struct tfl_auth auth;
    uint32_t round;                   /* of the last HEAD or TRAIN */
    uint32_t kept_round, kept_digest; /* of the head that outlives a reset; zeros: there is none */
    uint32_t hellos;                  /* since the reset: no two get the same nonce */
    uint32_t detail;                  /* of the error that is being found */
    uint8_t state, kept;
};

/* What the caller owns and lends to the node for good. Of a model with N features and C classes of a head; the last four
   may be null where it has none. */
struct tfl_node_config {
    const struct tfl_port *port;
    const struct tfl_model *model;
    int8_t *arena;  /* [arena_bytes], 4-byte aligned */
    uint8_t *body;  /* of the largest message: [TFL_MODEL_BODY_BYTES] */
    uint32_t body_bytes;
    struct tfl_retained *retained; /* with the body: where a reset does not clear them, an unfinished request goes on */
    int32_t *master;              /* [(N + 1) * C] */
    int16_t *broadcast;           /* [(N + 1) * C] */
    int32_t *logits;              /* [C] */
    struct tfl_feature *features; /* [N + 1] */
};

/* 0; TFL_ERROR_SPACE where the body cannot hold every message of the model; TFL_ERROR_STORE where flash is there and fails:
   a board that cannot read its key must not run. */
int tfl_node_init(struct tfl_node *node, const struct tfl_node_config *config) TFL_CHECKED;

/* 1: more to do now; 0: nothing until a byte comes; negative: the link is gone. Takes one sample's time at most. */
int tfl_node_poll(struct tfl_node *node) TFL_CHECKED;

/* For applications: sends a line of text to the host, beside all messages; 0 or negative: the link is gone. */
int tfl_node_log(const struct tfl_node *node, const char *text) TFL_CHECKED;

#endif
