/* The node: a board's side of federated learning. It answers requests that come over the port, and has no clock. */
#ifndef TFL_NODE_H
#define TFL_NODE_H

#include "../../core/session.h" /* for their sizes */
#include "../../core/store.h"
#include "../../core/tensor.h"
#include "tfl_config.h"
#include "tfl_model.h"
#include "tfl_port.h"

struct tfl_head {
    const struct tfl_head_format *format;
    struct tfl_tensor tensor;
    int32_t *logits;
    uint32_t *features; /* those that are not zero (core/head_block.h) */
};

/* Of a head with N features; a tensor without weights where its format has no adapter. */
struct tfl_adapter {
    const struct tfl_head_format *format;
    struct tfl_tensor tensor;
    int16_t *x;        /* [N]: features of the last sample */
    int8_t *embedding; /* [N]: what the head sees of it */
};

/* An update as COLLECT asked for it; round 0: none was. */
struct tfl_update {
    uint32_t round;
    uint32_t seed, stream; /* of rounding, of the random selection; never 0 */
    uint16_t count;
    uint8_t shift, codec;
    uint8_t feedback; /* as in the TRAIN before it */
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
    uint8_t type; /* TFL_MESSAGE_TRAIN, TFL_MESSAGE_EVALUATE, TFL_MESSAGE_OFFER, 0: none */
    uint8_t split, trained;
    uint8_t rate_shift, adapter_shift;
    uint8_t cluster;
    uint16_t rate, adapter_rate, epochs, epoch;
    uint16_t pull;   /* of FedProx, Q16; 0: none */
    uint32_t random; /* of its rounding */
    uint32_t round, seed, board;
    uint32_t done; /* samples of this epoch */
    uint32_t right, loss;
    uint8_t first_loss; /* of the first epoch, Q8 */
    struct tfl_order order;
    struct tfl_meter meter; /* of the steps */
};

struct tfl_node {
    struct tfl_session session;
    struct tfl_dataset dataset;
    struct tfl_head head;
    struct tfl_adapter adapter;
    struct tfl_tensor weights; /* of both: the adapter's lie behind the head's */
    struct tfl_job job;
    struct tfl_store store;
    struct tfl_auth auth;
    struct tfl_update update;         /* the last one of these weights */
    uint32_t round;                   /* of the last HEAD, OFFER or TRAIN */
    uint32_t seed;                    /* of the last TRAIN */
    uint32_t residual_round;          /* the residual is the one after this round; 0: zeros */
    uint32_t private_round;           /* the broadcast weights of private tensors are those after this round */
    uint32_t private_trained;         /* and their master weights this round's; 0: the same as the broadcast ones */
    uint32_t kept_round, kept_digest; /* of the head that outlives a reset; zeros: there is none */
    uint32_t hellos;                  /* since the reset: no two get the same nonce */
    uint32_t detail;                  /* of the error that is being found */
    uint8_t state, kept;
    uint8_t feedback; /* of the last TRAIN */
    uint8_t shared;   /* a bit for each tensor of the last weights that came: 1 the head, 2 the adapter */
    uint8_t cluster;  /* of the head that was chosen of those offered; 0 of any other */
    uint16_t offered; /* its loss, Q15 */
};

/* What the caller owns and lends to the node for good. Of a model with N features, C classes and W weights of head and
   adapter; all from `master` on may be null where it has no head, `residual` where there is an adapter or no room for
   error feedback, the two behind it where there is no adapter. */
struct tfl_node_config {
    const struct tfl_port *port;
    const struct tfl_model *model;
    int8_t *arena;  /* [arena_bytes], 4-byte aligned */
    uint8_t *body;  /* of the largest message: [TFL_MODEL_BODY_BYTES] */
    uint32_t body_bytes;
    struct tfl_retained *retained; /* with the body: where a reset does not clear them, an unfinished request goes on */
    int32_t *master;              /* [W] */
    int16_t *broadcast;           /* [W] */
    int32_t *logits;              /* [C] */
    uint32_t *features;           /* [N + 1] */
    int32_t *residual;            /* [W] */
    int16_t *adapter_features;    /* [N] */
    int8_t *adapted;              /* [N] */
};

/* 0; TFL_ERROR_SPACE where the body cannot hold every message of the model; TFL_ERROR_STORE where flash is there and fails:
   a board that cannot read its key must not run. */
int tfl_node_init(struct tfl_node *node, const struct tfl_node_config *config) TFL_CHECKED;

/* 1: more to do now; 0: nothing until a byte comes; negative: the link is gone. Takes one sample's time at most. */
int tfl_node_poll(struct tfl_node *node) TFL_CHECKED;

/* For applications: sends a line of text to the host, beside all messages; 0 or negative: the link is gone. */
int tfl_node_log(const struct tfl_node *node, const char *text) TFL_CHECKED;

#endif
