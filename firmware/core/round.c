#include "round.h"

#include "broadcast.h"
#include "codec.h"
#include "dataset.h"
#include "fixed.h"
#include "keep.h"
#include "request.h"
#include "residual.h"

/* The "epochs" of other streams than orders of samples in tfl_mix. */
#define SELECTION_STREAM 0xFFFDu
#define RETURN_STREAM 0xFFFCu

/* Takes coded weights as broadcast weights; what was collected of the weights before is settled by then. */
static int take(struct tfl_node *node, unsigned coding, const uint8_t *weights, uint32_t bytes)
{
    int status = tfl_broadcast_load(&node->head, coding, weights, bytes);

    if (status == TFL_ERROR_LENGTH) {
        return tfl_refuse(node, status, tfl_head_count(node->head.format));
    }
    return status == 0 ? 0 : tfl_refuse(node, status, status == TFL_ERROR_ARGUMENT ? TFL_HEAD_MAX_WEIGHT : 0u);
}

/* And as the head of a round. */
static int load(struct tfl_node *node, uint32_t round, unsigned coding, const uint8_t *weights, uint32_t bytes)
{
    int status = take(node, coding, weights, bytes);

    if (status != 0) {
        return status;
    }
    tfl_head_start(&node->head);
    node->cluster = 0;
    node->round = round;
    node->state = TFL_LOADED;
    return 0;
}

int tfl_round_head(struct tfl_node *node)
{
    struct tfl_msg_head head;
    int status;

    if (tfl_head_decode(&head, node->session.content, node->session.length) != 0) {
        return tfl_refuse(node, TFL_ERROR_LENGTH, tfl_head_count(node->head.format));
    }
    if (head.keep > 1u) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, head.keep);
    }
    tfl_residual_settle(node, head.taken);
    status = load(node, head.round, head.coding, head.weights, head.weights_count);
    return status == 0 && head.keep != 0u ? tfl_keep_head(node, head.round) : status;
}

/* A round's heads are compared with each other alone: the first one voids what was offered before. */
int tfl_round_offer(struct tfl_node *node)
{
    struct tfl_msg_offer offer;
    int status;

    if (tfl_offer_decode(&offer, node->session.content, node->session.length) != 0) {
        return tfl_refuse(node, TFL_ERROR_LENGTH, tfl_head_count(node->head.format));
    }
    tfl_residual_settle(node, offer.taken);
    status = take(node, offer.coding, offer.weights, offer.weights_count);
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
        tfl_head_start(&node->head);
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

static int train_end(struct tfl_node *node)
{
    struct tfl_job *job = &node->job;
    struct tfl_msg_trained trained = {.samples = node->dataset.samples[0]};

    tfl_codec_measure(&node->head, node->feedback, &trained.max_delta, &trained.mean_delta);
    trained.loss = (uint16_t)(trained.samples > 0u ? job->loss / trained.samples : 0u);
    trained.first_loss = job->first_loss;
    trained.embeddings = node->dataset.meter.count;
    trained.embed_ticks = node->dataset.meter.ticks;
    trained.steps = job->meter.count;
    trained.step_ticks = job->meter.ticks;
    trained.cluster = node->cluster;
    node->round = job->round;
    node->state = TFL_TRAINED;
    job->type = 0;
    return (int)tfl_trained_encode(&trained, node->session.body);
}

static int check_train(struct tfl_node *node, const struct tfl_msg_train *train)
{
    if (train->epochs == 0u) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, train->epochs);
    }
    if (train->rate < TFL_HEAD_MIN_RATE || train->rate > TFL_HEAD_MAX_RATE) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, train->rate);
    }
    if (train->shift < TFL_HEAD_MIN_RATE_SHIFT || train->shift > TFL_HEAD_MAX_RATE_SHIFT) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, train->shift);
    }
    if (train->feedback > (node->head.residual != 0 && train->round != 0u ? 1u : 0u)) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, train->feedback);
    }
    return train->weights_count == 0u && node->state == TFL_SPOILED ? TFL_ERROR_STATE : 0;
}

int tfl_round_train(struct tfl_node *node)
{
    struct tfl_job *job = &node->job;
    struct tfl_msg_train train;
    int status;

    if (tfl_train_decode(&train, node->session.content, node->session.length) != 0) {
        return tfl_refuse(node, TFL_ERROR_LENGTH, tfl_head_count(node->head.format));
    }
    status = check_train(node, &train);
    if (status == 0) {
        tfl_residual_settle(node, train.taken);
        status = train.feedback != 0u ? tfl_residual_recall(node, train.taken) : 0;
    }
    if (status == 0 && train.weights_count > 0u) {
        status = load(node, train.round, train.coding, train.weights, train.weights_count);
    } else if (status == 0 && node->state == TFL_OFFERED) {
        tfl_head_choose(&node->head);
    }
    if (status != 0) {
        return status;
    }
    node->feedback = train.feedback;
    node->stream = tfl_mix(train.seed, train.round, SELECTION_STREAM, 0);
    tfl_job_start(node, TFL_MESSAGE_TRAIN);
    job->round = train.round;
    job->seed = train.seed;
    job->board = train.board;
    job->epochs = train.epochs;
    job->rate = train.rate;
    job->rate_shift = train.shift;
    job->pull = train.pull;
    job->random = tfl_mix(train.seed, train.round, RETURN_STREAM, train.board);
    if (node->dataset.samples[0] == 0u) {
        return train_end(node);
    }
    epoch_start(node);
    return TFL_LATER;
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
    job->loss += tfl_head_step(&node->head, example.embedding, example.label, job->rate, job->rate_shift).loss;
    job->done++;
    last = job->done == node->dataset.samples[0];
    if (last || job->done % TFL_HEAD_CLAMP_STEPS == 0u) {
        tfl_head_clamp(&node->head);
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
    struct tfl_update update = {.stream = node->stream, .feedback = node->feedback};
    struct tfl_msg_delta delta = {.samples = node->dataset.samples[0]};
    struct tfl_msg_collect collect;
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
    if (collect.tensor != 0u || collect.seed == 0u) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, collect.tensor);
    }
    if (tfl_codec_check(&update, tfl_head_free(node->head.format)) != 0) {
        return tfl_refuse(node, TFL_ERROR_ARGUMENT, (uint32_t)collect.codec << 8 | collect.shift);
    }
    if (node->state != TFL_TRAINED || collect.round != node->round) {
        return tfl_refuse(node, TFL_ERROR_STATE, node->round);
    }
    status = update_keep(node, &update);
    if (status < 0) {
        return status;
    }
    bytes = tfl_delta_encode(&delta, node->session.body);
    return (int)(bytes + tfl_codec_encode(&node->head, &update, node->session.body + bytes));
}
