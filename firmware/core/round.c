#include "round.h"

#include "adapter.h"
#include "broadcast.h"
#include "codec.h"
#include "dataset.h"
#include "fixed.h"
#include "head.h"
#include "keep.h"
#include "private.h"
#include "request.h"
#include "residual.h"

/* The "epochs" of other streams than orders of samples in tfl_mix. */
#define SELECTION_STREAM 0xFFFDu
#define RETURN_STREAM 0xFFFCu

#define TENSORS_BYTES 4u /* before coded weights, where there is an adapter */

/* Coded weights as they come. */
struct coded {
    const uint8_t *weights;
    uint32_t bytes;
    uint8_t tensors, shift; /* which they are; the adapter's rate shift and rate, of a TRAIN */
    uint16_t rate;
};

static int is_rate(unsigned rate)
{
    return rate >= TFL_HEAD_MIN_RATE && rate <= TFL_HEAD_MAX_RATE;
}

static int wrong_length(struct tfl_node *node, unsigned tensors)
{
    return tfl_refuse(node, TFL_ERROR_LENGTH, tfl_weights_of(node, tensors)->count);
}

/* Of the last field of a message: which tensors there are, `least` or more, 0 in a TRAIN. */
static int coded_open(struct tfl_node *node, struct coded *c, const uint8_t *bytes, uint32_t size, unsigned least)
{
    int is_right;

    c->weights = bytes;
    c->bytes = size;
    if (!tfl_has_adapter(node->head.format)) {
        c->rate = c->shift = 0;
        c->tensors = least == 0u && size == 0u ? 0u : TFL_TENSOR_ALL;
        return 0;
    }
    if (size < TENSORS_BYTES) {
        return wrong_length(node, TFL_TENSOR_ALL);
    }
    c->tensors = bytes[0];
    c->rate = tfl_load16_le(bytes + 1);
    c->shift = bytes[3];
    c->weights += TENSORS_BYTES;
    c->bytes -= TENSORS_BYTES;
    if (c->tensors < least || c->tensors > TFL_TENSOR_ALL) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, c->tensors);
    }
    is_right = least != 0u ? c->rate == 0u && c->shift == 0u
                           : is_rate(c->rate) && c->shift >= TFL_ADAPTER_MIN_RATE_SHIFT &&
                                 c->shift <= TFL_ADAPTER_MAX_RATE_SHIFT;
    if (!is_right) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, c->rate);
    }
    return c->tensors == 0u && c->bytes > 0u ? tfl_refuse(node, TFL_ERROR_LENGTH, 0) : 0;
}

/* What was collected of the weights before moves on, if it counted. */
static int settle(struct tfl_node *node, const struct coded *c, uint32_t taken)
{
    tfl_residual_settle(node, taken);
    if (!tfl_has_adapter(node->head.format) || c->tensors == 0u || c->tensors == TFL_TENSOR_ALL) {
        return 0;
    }
    return tfl_private_settle(node, c->tensors, taken);
}

/* Takes coded weights as broadcast weights. Of a difference to private ones it would be told whether it fits. */
static int take(struct tfl_node *node, const struct coded *c, unsigned coding)
{
    int status = coding == TFL_CODING_DIFFERENCE && (c->tensors & ~node->shared) != 0u
                     ? TFL_ERROR_DIGEST
                     : tfl_broadcast_load(tfl_weights_of(node, c->tensors), coding, c->weights, c->bytes);

    if (status == TFL_ERROR_LENGTH) {
        return wrong_length(node, c->tensors);
    }
    if (status != 0) {
        return tfl_refuse(node, status, status == TFL_ERROR_ARGUMENT ? TFL_MAX_WEIGHT : 0u);
    }
    tfl_private_share(node, c->tensors);
    return 0;
}

/* And as the weights of a round. */
static int load(struct tfl_node *node, uint32_t round, const struct coded *c, unsigned coding)
{
    int status = take(node, c, coding);

    if (status != 0) {
        return status;
    }
    tfl_tensor_start(tfl_weights_of(node, c->tensors));
    node->cluster = 0;
    node->round = round;
    node->state = TFL_LOADED;
    return 0;
}

int tfl_round_head(struct tfl_node *node)
{
    struct tfl_msg_head head;
    struct coded coded;
    int status;

    if (tfl_head_decode(&head, node->session.content, node->session.length) != 0) {
        return wrong_length(node, TFL_TENSOR_ALL);
    }
    if (head.keep > 1u) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, head.keep);
    }
    status = coded_open(node, &coded, head.weights, head.weights_count, TFL_TENSOR_HEAD);
    if (status == 0) {
        status = settle(node, &coded, head.taken);
    }
    if (status == 0) {
        status = load(node, head.round, &coded, head.coding);
    }
    return status == 0 && head.keep != 0u ? tfl_keep_head(node, head.round) : status;
}

/* A round's heads are compared with each other alone: the first one voids what was offered before. */
int tfl_round_offer(struct tfl_node *node)
{
    struct tfl_msg_offer offer;
    struct coded coded;
    int status;

    if (tfl_offer_decode(&offer, node->session.content, node->session.length) != 0) {
        return wrong_length(node, TFL_TENSOR_ALL);
    }
    status = coded_open(node, &coded, offer.weights, offer.weights_count, TFL_TENSOR_ALL);
    if (status == 0) {
        tfl_residual_settle(node, offer.taken);
        status = take(node, &coded, offer.coding);
    }
    if (status != 0) {
        return status;
    }
    if (node->state != TFL_OFFERED || node->round != offer.round) {
        node->state = TFL_SPOILED;
        node->round = offer.round;
    }
    tfl_job_start(node, TFL_MESSAGE_OFFER);
    node->job.cluster = offer.cluster;
    return node->dataset.samples[0] == 0u ? tfl_round_offered(node) : TFL_LATER;
}

int tfl_round_offered(struct tfl_node *node)
{
    struct tfl_msg_offered offered = {.samples = node->dataset.samples[0]};

    offered.loss = (uint16_t)(offered.samples > 0u ? node->job.loss / offered.samples : 0u);
    if (node->state != TFL_OFFERED || offered.loss < node->offered) {
        tfl_tensor_start(&node->weights);
        node->cluster = node->job.cluster;
        node->offered = offered.loss;
    }
    node->state = TFL_OFFERED;
    node->job.type = 0;
    return (int)tfl_offered_encode(&offered, node->session.body);
}

static void epoch_start(struct tfl_node *node)
{
    struct tfl_job *job = &node->job;

    job->done = 0;
    job->loss = 0;
    tfl_order_start(&job->order, node->dataset.samples[0], tfl_mix(job->seed, job->round, job->epoch, job->board));
}

/* Max and mean of a tensor's |v|; nothing is told of a private one. */
static void measure(const struct tfl_node *node, unsigned tensor, uint32_t *largest, uint32_t *mean)
{
    if ((node->shared & tensor) != 0u) {
        tfl_codec_measure(tfl_weights_of(node, tensor), node->feedback, largest, mean);
    }
}

static int train_end(struct tfl_node *node)
{
    struct tfl_job *job = &node->job;
    struct tfl_msg_trained trained = {.samples = node->dataset.samples[0]};
    uint32_t bytes, largest = 0, mean = 0;

    measure(node, TFL_TENSOR_HEAD, &trained.max_delta, &trained.mean_delta);
    trained.loss = (uint16_t)(trained.samples > 0u ? job->loss / trained.samples : 0u);
    trained.first_loss = job->first_loss;
    trained.embeddings = node->dataset.meter.count;
    trained.embed_ticks = node->dataset.meter.ticks;
    trained.steps = job->meter.count;
    trained.step_ticks = job->meter.ticks;
    trained.cluster = node->cluster;
    node->round = job->round;
    node->state = TFL_TRAINED;
    node->private_trained = node->shared != TFL_TENSOR_ALL ? job->round : 0u;
    job->type = 0;
    bytes = tfl_trained_encode(&trained, node->session.body);
    if (tfl_has_adapter(node->head.format)) {
        measure(node, TFL_TENSOR_ADAPTER, &largest, &mean);
        tfl_store32_le(node->session.body + bytes, largest);
        tfl_store32_le(node->session.body + bytes + 4u, mean);
        bytes += 8u;
    }
    return (int)bytes;
}

static int check_train(struct tfl_node *node, const struct tfl_msg_train *train)
{
    if (train->epochs == 0u) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, train->epochs);
    }
    if (!is_rate(train->rate)) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, train->rate);
    }
    if (train->shift < TFL_HEAD_MIN_RATE_SHIFT || train->shift > TFL_HEAD_MAX_RATE_SHIFT) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, train->shift);
    }
    if (train->feedback > (node->head.tensor.residual != 0 && train->round != 0u ? 1u : 0u)) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, train->feedback);
    }
    if (train->pull != 0u && tfl_has_adapter(node->head.format)) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, train->pull);
    }
    return 0;
}

int tfl_round_train(struct tfl_node *node)
{
    struct tfl_job *job = &node->job;
    struct tfl_msg_train train;
    struct coded coded;
    int status;

    if (tfl_train_decode(&train, node->session.content, node->session.length) != 0) {
        return wrong_length(node, TFL_TENSOR_ALL);
    }
    status = check_train(node, &train);
    if (status == 0) {
        status = coded_open(node, &coded, train.weights, train.weights_count, 0);
    }
    if (status == 0 && coded.tensors == 0u && node->state == TFL_SPOILED) {
        status = TFL_ERROR_STATE;
    }
    if (status == 0) {
        status = settle(node, &coded, train.taken);
    }
    if (status == 0 && train.feedback != 0u) {
        status = tfl_residual_recall(node, train.taken);
    }
    if (status == 0 && coded.tensors != 0u) {
        status = load(node, train.round, &coded, train.coding);
    } else if (status == 0 && node->state == TFL_OFFERED) {
        tfl_tensor_choose(&node->weights);
    }
    if (status != 0) {
        return status;
    }
    node->private_trained = 0;
    node->feedback = train.feedback;
    node->seed = train.seed;
    tfl_job_start(node, TFL_MESSAGE_TRAIN);
    job->round = train.round;
    job->seed = train.seed;
    job->board = train.board;
    job->epochs = train.epochs;
    job->rate = train.rate;
    job->rate_shift = train.shift;
    job->adapter_rate = coded.rate;
    job->adapter_shift = coded.shift;
    job->pull = train.pull;
    job->random = tfl_mix(train.seed, train.round, RETURN_STREAM, train.board);
    if (node->dataset.samples[0] == 0u) {
        return train_end(node);
    }
    epoch_start(node);
    return TFL_LATER;
}

static struct tfl_outcome step(struct tfl_node *node, const struct tfl_example *example)
{
    const struct tfl_job *job = &node->job;
    struct tfl_head *head = &node->head;
    struct tfl_outcome outcome;
    const int8_t *seen;
    unsigned active;

    if (!tfl_has_adapter(head->format)) {
        return tfl_head_step(head, example->embedding, example->label, job->rate, job->rate_shift);
    }
    seen = tfl_adapter_forward(&node->adapter, example->embedding, 1);
    outcome = tfl_head_error(head, seen, example->label, &active);
    tfl_adapter_step(&node->adapter, head, job->adapter_rate, job->adapter_shift);
    tfl_head_descend(head, active, job->rate, job->rate_shift);
    return outcome;
}

/* One step of a TRAIN, with what comes due at the end of an epoch. */
int tfl_round_poll(struct tfl_node *node)
{
    struct tfl_job *job = &node->job;
    const struct tfl_port *port = node->dataset.port;
    struct tfl_example example;
    uint32_t start;
    int last;

    if (tfl_dataset_get(&node->dataset, 0, job->order.at, &example) != 0) {
        return tfl_refuse(node, TFL_ERROR_SAMPLE, job->order.at);
    }
    start = tfl_ticks(port);
    job->loss += step(node, &example).loss;
    job->done++;
    last = job->done == node->dataset.samples[0];
    if (last || job->done % TFL_HEAD_CLAMP_STEPS == 0u) {
        tfl_head_clamp(&node->weights);
        if (job->pull != 0u) {
            job->random = tfl_head_return(&node->head, job->pull, job->random);
        }
    }
    tfl_meter_add(&job->meter, port, start);
    tfl_order_next(&job->order);
    if (last) {
        job->first_loss = job->epoch == 0u ? (uint8_t)(job->loss / job->done >> 7) : job->first_loss; /* < 256 */
        job->epoch++;
        if (job->epoch == job->epochs) {
            return train_end(node);
        }
        epoch_start(node);
    }
    return TFL_LATER;
}

/* What the board's store keeps of it is there before anybody can count it. A repeated COLLECT writes nothing again. */
static int update_keep(struct tfl_node *node, const struct tfl_update *update)
{
    const struct tfl_update *last = &node->update;
    int status;

    if (last->round == update->round && last->seed == update->seed && last->count == update->count &&
        last->shift == update->shift && last->codec == update->codec) {
        return 0;
    }
    status = tfl_keep_update(node, update);
    if (status == 0) {
        node->update = *update;
    }
    return status;
}

int tfl_round_collect(struct tfl_node *node)
{
    struct tfl_update update = {.feedback = node->feedback};
    struct tfl_msg_delta delta = {.samples = node->dataset.samples[0]};
    struct tfl_msg_collect collect;
    const struct tfl_tensor *tensor;
    uint32_t bytes;
    int status;

    if (tfl_collect_decode(&collect, node->session.content, node->session.length) != 0) {
        return TFL_ERROR_LENGTH;
    }
    update.round = delta.round = collect.round;
    update.seed = collect.seed;
    update.count = collect.count;
    update.shift = collect.shift;
    update.codec = collect.codec;
    if (collect.tensor > (tfl_has_adapter(node->head.format) ? 1u : 0u) || collect.seed == 0u) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, collect.tensor);
    }
    tensor = tfl_weights_of(node, 1u << collect.tensor);
    update.stream = tfl_mix(node->seed, collect.round, SELECTION_STREAM, collect.tensor);
    if (tfl_codec_check(&update, tfl_tensor_free(tensor)) != 0) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, (uint32_t)collect.codec << 8 | collect.shift);
    }
    if (node->state != TFL_TRAINED || collect.round != node->round || (node->shared & 1u << collect.tensor) == 0u) {
        return tfl_refuse(node, TFL_ERROR_STATE, node->round);
    }
    status = update_keep(node, &update);
    if (status < 0) {
        return status;
    }
    bytes = tfl_delta_encode(&delta, node->session.body);
    return (int)(bytes + tfl_codec_encode(tensor, &update, node->session.body + bytes));
}
