#include "greeting.h"

#include <string.h>

#include "fixed.h"

#define NONCE_AT (TFL_WELCOME_BYTES - 32u) /* nonce and proof are the last fields */
#define NONCE_BYTES 16u

static uint32_t features(const struct tfl_node *node)
{
    return TFL_FEATURE_CODECS | TFL_FEATURE_PROXIMAL | TFL_FEATURE_CLUSTERS |
           (node->auth.enrolled != 0u ? TFL_FEATURE_AUTH : 0u) |
           (node->store.capacity > 0u ? TFL_FEATURE_STORE : 0u) |
           (node->head.tensor.residual != 0 ? TFL_FEATURE_FEEDBACK : 0u);
}

/* All but nonce and proof. */
TFL_NOINLINE static void describe(const struct tfl_node *node, uint8_t *body)
{
    const struct tfl_port *port = node->dataset.port;
    const struct tfl_model *model = node->dataset.model;
    struct tfl_msg_welcome welcome = {.protocol = TFL_PROTOCOL, .schema = TFL_SCHEMA};

    welcome.boot = node->store.boot;
    memcpy(welcome.device, port->device, sizeof welcome.device);
    memcpy(welcome.model, model->hash, sizeof welcome.model);
    memcpy(welcome.name, port->name, sizeof welcome.name);
    welcome.features = features(node);
    welcome.chunk = TFL_CHUNK;
    welcome.window = port->window;
    welcome.tick_numerator = port->ticks != 0 ? port->tick_numerator : 0u;
    welcome.tick_denominator = port->ticks != 0 ? port->tick_denominator : 0u;
    welcome.head_features = model->head != 0 ? model->head->features : 0u;
    welcome.head_classes = model->head != 0 ? model->head->classes : 0u;
    welcome.input_bytes = model->input_bytes;
    welcome.output_bytes = model->output_bytes;
    welcome.body_bytes = node->session.body_bytes;
    welcome.cache = node->dataset.slot_count;
    welcome.train_samples = node->dataset.samples[0];
    welcome.test_samples = node->dataset.samples[1];
    welcome.round = node->kept_round;
    welcome.head_digest = node->kept_digest;
    (void)tfl_welcome_encode(&welcome, body);
}

static uint32_t random_word(const struct tfl_port *port)
{
    return port->random != 0 ? port->random(port->context) : 0u;
}

/* The key may have come since the last HELLO. */
TFL_NOINLINE static int learn_key(struct tfl_node *node)
{
    uint8_t key[TFL_KEY_BYTES];
    int status = tfl_store_key(&node->store, key);

    if (status > 0) {
        tfl_auth_init(&node->auth, key);
    }
    return status;
}

int tfl_greeting_welcome(struct tfl_node *node, const uint8_t *hello, uint32_t hello_bytes, uint8_t *welcome)
{
    const struct tfl_port *port = node->dataset.port;
    int status = learn_key(node);

    if (status < 0) {
        return status; /* a board that forgot its key would take orders from anybody */
    }
    node->hellos++;
    describe(node, welcome);
    if (node->auth.enrolled != 0u) {
        tfl_auth_nonce(&node->auth, node->store.boot, node->hellos, random_word(port), welcome + NONCE_AT);
        tfl_auth_welcome(&node->auth, hello, hello_bytes, welcome, TFL_WELCOME_BYTES);
        return 0;
    }
    for (uint32_t i = 0; i < NONCE_BYTES; i += 4u) {
        tfl_store32_le(welcome + NONCE_AT + i, random_word(port));
    }
    return 0;
}
