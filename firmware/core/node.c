/* The node's state machine: requests are checked here, at the edge, and trusted behind it. */
#include "tfl/tfl_node.h"

#include <string.h>

#include "adapter.h"
#include "dataset.h"
#include "fixed.h"
#include "greeting.h"
#include "head.h"
#include "keep.h"
#include "private.h"
#include "request.h"
#include "round.h"

/* Half an epoch is nothing that anyone could repeat, and its weights are not clamped. */
static void job_drop(struct tfl_node *node)
{
    if (node->job.type == TFL_MESSAGE_TRAIN) {
        node->state = TFL_SPOILED;
    }
    node->job.type = 0;
}

/* The requests: each returns the length of its reply, TFL_LATER, or a negative tfl_error. */

/* Protocol and schema stand first in every version's HELLO. */
static int on_hello(struct tfl_node *node)
{
    const uint8_t *hello = node->session.content;
    uint32_t length = node->session.length;
    int status;

    if (length < 6u || tfl_load16_le(hello) != TFL_PROTOCOL) {
        return tfl_refuse(node, TFL_ERROR_PROTOCOL, TFL_PROTOCOL);
    }
    if (tfl_load32_le(hello + 2) != TFL_SCHEMA) {
        return tfl_refuse(node, TFL_ERROR_PROTOCOL, TFL_SCHEMA);
    }
    if (length != TFL_HELLO_BYTES) {
        return tfl_refuse(node, TFL_ERROR_LENGTH, TFL_HELLO_BYTES);
    }
    if (node->session.counter != 0u) {
        return TFL_ERROR_STATE; /* keys and counters belong to the session that it did not open */
    }
    status = tfl_greeting_welcome(node, hello, length, node->session.brief);
    return status < 0 ? status : (int)TFL_WELCOME_BYTES;
}

static int on_enrol(struct tfl_node *node)
{
    struct tfl_msg_enrol enrol;
    uint8_t held[TFL_KEY_BYTES];
    int status;

    if (tfl_enrol_decode(&enrol, node->session.content, node->session.length) != 0) {
        return tfl_refuse(node, TFL_ERROR_LENGTH, TFL_ENROL_BYTES);
    }
    status = tfl_store_key(&node->store, held);
    if (status > 0 && node->auth.active == 0u) {
        return TFL_ERROR_KEY;
    }
    return status < 0 ? status : tfl_store_enrol(&node->store, enrol.key); /* the next HELLO takes it up */
}

static int evaluate_end(struct tfl_node *node)
{
    struct tfl_job *job = &node->job;
    struct tfl_msg_evaluated evaluated = {.samples = node->dataset.samples[job->split]};

    evaluated.correct = job->right;
    evaluated.loss = (uint16_t)(evaluated.samples > 0u ? job->loss / evaluated.samples : 0u);
    job->type = 0;
    return (int)tfl_evaluated_encode(&evaluated, node->session.body);
}

static int on_evaluate(struct tfl_node *node)
{
    struct tfl_msg_evaluate evaluate;

    if (tfl_evaluate_decode(&evaluate, node->session.content, node->session.length) != 0) {
        return TFL_ERROR_LENGTH;
    }
    if (evaluate.split >= TFL_SPLITS) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, evaluate.split);
    }
    if (evaluate.source > 1u) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, evaluate.source);
    }
    if (evaluate.source == 1u && node->state == TFL_SPOILED) {
        return TFL_ERROR_STATE;
    }
    tfl_job_start(node, TFL_MESSAGE_EVALUATE);
    node->job.split = evaluate.split;
    node->job.trained = evaluate.source;
    return node->dataset.samples[evaluate.split] == 0u ? evaluate_end(node) : TFL_LATER;
}

static int evaluate_poll(struct tfl_node *node)
{
    struct tfl_job *job = &node->job;
    struct tfl_example example;
    struct tfl_outcome outcome;
    const int8_t *seen;

    if (tfl_dataset_get(&node->dataset, job->split, job->done, &example) != 0) {
        return tfl_refuse(node, TFL_ERROR_SAMPLE, job->done);
    }
    seen = tfl_has_adapter(node->head.format) ? tfl_adapter_forward(&node->adapter, example.embedding, job->trained)
                                              : example.embedding;
    outcome = tfl_head_evaluate(&node->head, seen, example.label, job->trained);
    job->loss += outcome.loss;
    job->right += outcome.right;
    job->done++;
    if (job->done < node->dataset.samples[job->split]) {
        return TFL_LATER;
    }
    return job->type == TFL_MESSAGE_OFFER ? tfl_round_offered(node) : evaluate_end(node);
}

static int on_pull(struct tfl_node *node)
{
    struct tfl_msg_weights weights = {.round = node->round};
    uint32_t bytes;

    if (node->session.length != TFL_PULL_BYTES) {
        return TFL_ERROR_LENGTH;
    }
    if (node->state == TFL_SPOILED || node->shared != TFL_TENSOR_ALL) {
        return TFL_ERROR_STATE; /* private weights never leave */
    }
    bytes = tfl_weights_encode(&weights, node->session.body);
    tfl_tensor_pull(&node->weights, node->session.body + bytes);
    return (int)(bytes + 2u * node->weights.count);
}

static int on_infer(struct tfl_node *node)
{
    const struct tfl_model *model = node->dataset.model;
    int8_t *arena = node->dataset.arena;
    struct tfl_msg_infer infer;
    struct tfl_msg_inferred inferred = {0};
    uint32_t start, bytes;

    if (tfl_infer_decode(&infer, node->session.content, node->session.length) != 0 ||
        infer.input_count != model->input_bytes) {
        return tfl_refuse(node, TFL_ERROR_LENGTH, model->input_bytes);
    }
    memcpy(arena + model->input_offset, infer.input, model->input_bytes);
    start = tfl_ticks(node->dataset.port);
    model->run(arena, 0, model->layers);
    inferred.ticks = tfl_ticks(node->dataset.port) - start;
    bytes = tfl_inferred_encode(&inferred, node->session.body);
    memcpy(node->session.body + bytes, arena + model->output_offset, model->output_bytes);
    return (int)(bytes + model->output_bytes);
}

static int on_feed(struct tfl_node *node)
{
    const struct tfl_model *model = node->dataset.model;
    struct tfl_msg_feed feed;
    struct tfl_msg_fed fed;

    if (tfl_feed_decode(&feed, node->session.content, node->session.length) != 0 ||
        feed.input_count != model->input_bytes) {
        return tfl_refuse(node, TFL_ERROR_LENGTH, model->input_bytes);
    }
    if (feed.split >= TFL_SPLITS) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, feed.split);
    }
    if (feed.label >= model->head->classes) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, feed.label);
    }
    if (node->dataset.port->sample != 0) {
        return TFL_ERROR_STATE;
    }
    if (tfl_dataset_feed(&node->dataset, feed.split, feed.label, feed.input) != 0) {
        return tfl_refuse(node, TFL_ERROR_SPACE, node->dataset.slot_count);
    }
    fed.train_samples = node->dataset.samples[0];
    fed.test_samples = node->dataset.samples[1];
    return (int)tfl_fed_encode(&fed, node->session.body);
}

static const struct request {
    uint8_t type, reply;
    uint8_t needs; /* 1: a head, 2: and samples that fit the model */
    int (*handle)(struct tfl_node *node);
} requests[] = {
    {TFL_MESSAGE_HELLO, TFL_MESSAGE_WELCOME, 0, on_hello},
    {TFL_MESSAGE_HEAD, TFL_MESSAGE_DONE, 1, tfl_round_head},
    {TFL_MESSAGE_OFFER, TFL_MESSAGE_OFFERED, 2, tfl_round_offer},
    {TFL_MESSAGE_TRAIN, TFL_MESSAGE_TRAINED, 2, tfl_round_train},
    {TFL_MESSAGE_COLLECT, TFL_MESSAGE_DELTA, 1, tfl_round_collect},
    {TFL_MESSAGE_EVALUATE, TFL_MESSAGE_EVALUATED, 2, on_evaluate},
    {TFL_MESSAGE_PULL, TFL_MESSAGE_WEIGHTS, 1, on_pull},
    {TFL_MESSAGE_INFER, TFL_MESSAGE_INFERRED, 0, on_infer},
    {TFL_MESSAGE_FEED, TFL_MESSAGE_FED, 1, on_feed},
    {TFL_MESSAGE_ENROL, TFL_MESSAGE_DONE, 0, on_enrol},
};

static int handle(struct tfl_node *node, const struct request *request)
{
    if (request->needs >= 1u && node->dataset.model->head == 0) {
        return TFL_ERROR_STATE;
    }
    if (request->needs >= 2u && tfl_dataset_mismatch(&node->dataset)) {
        return tfl_refuse(node, TFL_ERROR_SAMPLE, node->dataset.port->sample_bytes);
    }
    return request->handle(node);
}

/* Sends what a handler or a job came to; 1, or negative: the link is gone. */
static int conclude(struct tfl_node *node, uint8_t reply, int result)
{
    const uint8_t *body = reply == TFL_MESSAGE_WELCOME ? node->session.brief : node->session.body;
    uint32_t length = (uint32_t)result;
    int sent;

    if (result == TFL_LATER) {
        return 1;
    }
    if (result < 0) {
        struct tfl_msg_error error = {.status = (int8_t)result, .detail = node->detail};

        job_drop(node);
        reply = TFL_MESSAGE_ERROR;
        body = node->session.brief;
        length = tfl_error_encode(&error, node->session.brief);
    }
    sent = tfl_session_reply(&node->session, reply, body, length);
    return sent < 0 ? sent : 1;
}

static int on_request(struct tfl_node *node, uint8_t type)
{
    job_drop(node);
    node->detail = 0;
    for (unsigned i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        if (requests[i].type == type) {
            return conclude(node, requests[i].reply, handle(node, &requests[i]));
        }
    }
    return conclude(node, 0, tfl_refuse(node, TFL_ERROR_TYPE, type));
}

int tfl_node_poll(struct tfl_node *node)
{
    int type = tfl_session_poll(&node->session);
    uint8_t reply;

    if (type < 0) {
        return type;
    }
    if (type > 0) {
        return on_request(node, (uint8_t)type);
    }
    if (!tfl_session_busy(&node->session)) {
        job_drop(node);
    }
    if (node->job.type == 0u) {
        return 0;
    }
    if (node->job.type == TFL_MESSAGE_TRAIN) {
        return conclude(node, TFL_MESSAGE_TRAINED, tfl_round_poll(node));
    }
    reply = node->job.type == TFL_MESSAGE_OFFER ? TFL_MESSAGE_OFFERED : TFL_MESSAGE_EVALUATED; /* of this job, over or not */
    return conclude(node, reply, evaluate_poll(node));
}

static uint32_t largest_body(const struct tfl_model *model)
{
    uint32_t head = model->head != 0 ? tfl_head_count(model->head) : 0u;
    uint32_t adapter = model->head != 0 ? tfl_adapter_count(model->head) : 0u;
    uint32_t count = head > adapter ? head : adapter, largest = TFL_WELCOME_BYTES;
    const uint32_t bodies[] = {
        TFL_TRAIN_BYTES + (adapter > 0u ? 4u : 0u) + 2u * (head + adapter),
        TFL_DELTA_BYTES + count + (count + 7u) / 8u + 1u, /* a value, a bit in a bitmap, the header byte */
        TFL_FEED_BYTES + model->input_bytes,
        TFL_INFERRED_BYTES + model->output_bytes,
    };

    for (unsigned i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        largest = bodies[i] > largest ? bodies[i] : largest;
    }
    return largest;
}

/* With an adapter there is no error feedback: no residual. */
static void weights_init(struct tfl_node *node, const struct tfl_node_config *config)
{
    const struct tfl_head_format *format = config->model->head;
    uint32_t count = tfl_head_count(format);
    struct tfl_tensor head = {config->master, config->broadcast, config->residual, format->held, count};
    struct tfl_tensor adapter = {config->master + count, config->broadcast + count, 0, 0, tfl_adapter_count(format)};

    head.residual = adapter.count > 0u ? 0 : head.residual;
    node->head.format = node->adapter.format = format;
    node->head.tensor = head;
    node->head.logits = config->logits;
    node->head.features = config->features;
    node->adapter.tensor = adapter;
    node->weights = head;
    node->weights.count += adapter.count;
    node->adapter.x = config->adapter_features;
    node->adapter.embedding = config->adapted;
    if (head.residual != 0) {
        memset(head.residual, 0, 4u * count);
    }
}

int tfl_node_init(struct tfl_node *node, const struct tfl_node_config *config)
{
    const struct tfl_head_format *format = config->model->head;
    const struct tfl_session_config session = {.port = config->port,
                                               .body = config->body,
                                               .body_bytes = config->body_bytes,
                                               .retained = config->retained,
                                               .auth = &node->auth};
    uint8_t key[TFL_KEY_BYTES];
    int status;

    if (config->body_bytes < largest_body(config->model)) {
        return TFL_ERROR_SPACE;
    }
    memset(node, 0, sizeof *node);
    tfl_session_init(&node->session, &session);
    tfl_dataset_init(&node->dataset, config);
    if (format != 0) {
        weights_init(node, config);
    }
    status = tfl_store_mount(&node->store, config->port, tfl_keep_least(node));
    if (status == 0) {
        status = tfl_store_key(&node->store, key);
    }
    if (status < 0) {
        return status;
    }
    tfl_auth_init(&node->auth, status > 0 ? key : 0);
    if (format == 0) {
        return 0;
    }
    tfl_store_extend(&node->store, tfl_keep_bytes(node)); /* without room a reset loses what is not the server's */
    return tfl_keep_restore(node);
}

int tfl_node_log(const struct tfl_node *node, const char *text)
{
    uint32_t length = 0;

    while (text[length] != '\0') {
        length++;
    }
    return tfl_session_log(&node->session, text, length);
}
