#include "dataset.h"

#include <string.h>

#include "fixed.h"

#define NO_SLOT 0xFFFFFFFFu

void tfl_meter_add(struct tfl_meter *meter, const struct tfl_port *port, uint32_t start)
{
    uint32_t ticks = tfl_ticks(port) - start;

    if (meter->full == 0u && ticks <= 0xFFFFFFFFu - meter->ticks) {
        meter->ticks += ticks;
        meter->count++;
    } else {
        meter->full = 1;
    }
}

/* A slot takes an embedding, its label and a bit that says whether they are there. */
void tfl_dataset_init(struct tfl_dataset *dataset, const struct tfl_node_config *config)
{
    const struct tfl_port *port = config->port;
    const struct tfl_head_format *head = config->model->head;
    uint32_t bytes = head != 0 && port->cache != 0 ? port->cache_bytes : 0u;
    uint32_t slot_bytes = head != 0 ? head->features + 1u : 1u;

    memset(dataset, 0, sizeof *dataset);
    dataset->port = port;
    dataset->model = config->model;
    dataset->arena = config->arena;
    bytes = bytes < 0x10000000u ? bytes : 0x10000000u; /* 2^28: no count of bits wraps */
    dataset->slot_count = 8u * bytes / (8u * slot_bytes + 1u);
    dataset->slot_count -= dataset->slot_count * slot_bytes + (dataset->slot_count + 7u) / 8u > bytes ? 1u : 0u;
    if (dataset->slot_count > 0u) {
        dataset->valid = port->cache;
        dataset->slots = port->cache + (dataset->slot_count + 7u) / 8u;
        memset(dataset->valid, 0, (dataset->slot_count + 7u) / 8u);
    }
    for (unsigned split = 0; split < TFL_SPLITS && port->sample != 0 && !tfl_dataset_mismatch(dataset); split++) {
        dataset->samples[split] = port->samples[split] < TFL_MAX_SAMPLES ? port->samples[split] : TFL_MAX_SAMPLES;
    }
}

/* Training samples from the first slot on, test samples from the last one down, in what those leave. */
static uint32_t slot_of(const struct tfl_dataset *dataset, unsigned split, uint32_t index)
{
    uint32_t count = dataset->slot_count, train = dataset->samples[0];
    uint32_t room = split == 0u ? count : count - (train < count ? train : count);

    if (index >= room) {
        return NO_SLOT;
    }
    return split == 0u ? index : count - 1u - index;
}

static int held(const struct tfl_dataset *dataset, uint32_t slot)
{
    return dataset->valid[slot / 8u] >> (slot % 8u) & 1;
}

/* Runs the backbone on the input that lies in the arena. */
static const int8_t *embed(struct tfl_dataset *dataset)
{
    const struct tfl_model *model = dataset->model;
    uint32_t start = tfl_ticks(dataset->port);

    model->run(dataset->arena, 0, model->backbone_layers);
    tfl_meter_add(&dataset->meter, dataset->port, start);
    return dataset->arena + model->embedding_offset;
}

static void keep(struct tfl_dataset *dataset, uint32_t slot, const int8_t *embedding, uint8_t label)
{
    uint32_t features = dataset->model->head->features;
    uint8_t *place = dataset->slots + slot * (features + 1u);

    memcpy(place, embedding, features);
    place[features] = label;
    dataset->valid[slot / 8u] = (uint8_t)(dataset->valid[slot / 8u] | 1u << (slot % 8u));
}

int tfl_dataset_get(struct tfl_dataset *dataset, unsigned split, uint32_t index, struct tfl_example *example)
{
    const struct tfl_port *port = dataset->port;
    uint32_t features = dataset->model->head->features;
    uint32_t slot = slot_of(dataset, split, index);
    uint8_t label;

    if (slot != NO_SLOT && held(dataset, slot)) {
        const uint8_t *place = dataset->slots + slot * (features + 1u);

        example->embedding = (const int8_t *)place;
        example->label = place[features];
        return 0;
    }
    if (port->sample == 0 ||
        port->sample(port->context, split, index, dataset->arena + dataset->model->input_offset, &label) != 0 ||
        label >= dataset->model->head->classes) {
        return TFL_ERROR_SAMPLE;
    }
    example->embedding = embed(dataset);
    example->label = label;
    if (slot != NO_SLOT) {
        keep(dataset, slot, example->embedding, label);
    }
    return 0;
}

int tfl_dataset_feed(struct tfl_dataset *dataset, unsigned split, uint8_t label, const int8_t *input)
{
    if (dataset->samples[0] + dataset->samples[1] >= dataset->slot_count || dataset->samples[split] >= TFL_MAX_SAMPLES) {
        return TFL_ERROR_SPACE;
    }
    memcpy(dataset->arena + dataset->model->input_offset, input, dataset->model->input_bytes);
    keep(dataset, slot_of(dataset, split, dataset->samples[split]), embed(dataset), label);
    dataset->samples[split]++;
    return 0;
}
