/* One case of training an adapter with its head, for adapter_probe.c (a host) and tests/emulated/adapter.c: 14 u32 (N, C,
   fw, xb, group, samples, epochs, rate, rate shift, the adapter's rate, rate shift, seed, round, board), the offsets of the
   embedding and of what the head sees, weights int16 of head and adapter, embeddings, labels. The answer: ticks of all
   steps, the last epoch's sum of losses, the master weights of head and adapter, and what the head sees of every
   embedding with the broadcast weights, with the master weights, and after a reset. */
#ifndef TFL_ADAPTER_CASE_H
#define TFL_ADAPTER_CASE_H

#include "adapter.h"
#include "fixed.h"

enum { N, C, FW, XB, GROUP, SAMPLES, EPOCHS, RATE, RATE_SHIFT, ADAPTER_RATE, ADAPTER_SHIFT, SEED, ROUND, BOARD, WORDS };

/* The program's own. take: memory that holds the next `size` bytes of the input; room: memory for as much. */
static void *room(uint32_t size);
static void *take(uint32_t size);
static void give(const void *data, uint32_t size);
static uint32_t ticks(void);

static uint32_t train(struct tfl_adapter *adapter, struct tfl_head *head, const uint32_t *word, const int8_t *q,
                      const uint8_t *y, uint32_t *spent)
{
    uint32_t loss = 0;

    for (uint32_t epoch = 0; epoch < word[EPOCHS] && word[SAMPLES] > 0u; epoch++) {
        struct tfl_order order;

        loss = 0;
        tfl_order_start(&order, word[SAMPLES], tfl_mix(word[SEED], word[ROUND], epoch, word[BOARD]));
        for (uint32_t i = 1; i <= word[SAMPLES]; i++) {
            uint32_t start = ticks();
            const int8_t *seen = tfl_adapter_forward(adapter, q + order.at * word[N], 1);
            unsigned active;

            loss += tfl_head_error(head, seen, y[order.at], &active).loss;
            tfl_adapter_step(adapter, head, word[ADAPTER_RATE], word[ADAPTER_SHIFT]);
            tfl_head_descend(head, active, word[RATE], word[RATE_SHIFT]);
            if (i == word[SAMPLES] || i % TFL_HEAD_CLAMP_STEPS == 0u) {
                tfl_head_clamp(&head->tensor);
                tfl_head_clamp(&adapter->tensor);
            }
            *spent += ticks() - start;
            tfl_order_next(&order);
        }
    }
    return loss;
}

static void give_seen(struct tfl_adapter *adapter, const uint32_t *word, const int8_t *q, int trained)
{
    for (uint32_t i = 0; i < word[SAMPLES]; i++) {
        give(tfl_adapter_forward(adapter, q + i * word[N], trained), word[N]);
    }
}

static void run_case(const uint32_t *word)
{
    uint32_t weights = (word[N] + 1u) * word[C], spent = 0, size, loss;
    int8_t *offset = take(word[N]), *seen_offset = take(word[N]);
    struct tfl_adapter_format before = {offset, (uint16_t)word[GROUP]};
    struct tfl_head_format format = {.features = (uint16_t)word[N], .classes = (uint16_t)word[C], .fw = (uint8_t)word[FW],
                                     .bias_value = (uint8_t)word[XB], .offset = seen_offset, .adapter = &before};
    struct tfl_head head = {.format = &format, .tensor = {.count = weights}};
    struct tfl_adapter adapter = {.format = &format};
    const int8_t *q;
    const uint8_t *y;

    adapter.tensor.count = size = tfl_adapter_count(&format);
    head.tensor.master = room(4u * weights);
    head.tensor.broadcast = take(2u * weights);
    adapter.tensor.master = room(4u * size);
    adapter.tensor.broadcast = take(2u * size);
    adapter.x = room(2u * word[N]);
    adapter.embedding = room(word[N]);
    head.logits = room(4u * word[C]);
    head.features = room((word[N] + 1u) * (uint32_t)sizeof(uint32_t));
    q = take(word[SAMPLES] * word[N]);
    y = take(word[SAMPLES]);
    tfl_tensor_start(&head.tensor);
    tfl_tensor_start(&adapter.tensor);
    loss = train(&adapter, &head, word, q, y, &spent);
    give(&spent, sizeof spent);
    give(&loss, sizeof loss);
    give(head.tensor.master, 4u * weights);
    give(adapter.tensor.master, 4u * size);
    give_seen(&adapter, word, q, 0);
    give_seen(&adapter, word, q, 1);
    tfl_adapter_reset(&adapter);
    give_seen(&adapter, word, q, 1);
}

#endif
