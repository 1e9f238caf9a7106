/* Trains heads on the host: each case on stdin is 14 u32 (N, C, fw, xb, samples, epochs, rate, rate shift, seed, round, board,
   delta shift, delta seed, pull), offsets, weights int16, a bit for each weight that is held, embeddings, labels. To stdout go
   the last epoch's loss sum, max |delta|, right and loss of both kinds of evaluation, the master weights, the deltas and the
   pulled weights. */
#include <string.h>

#include "broadcast.h"
#include "codec.h"
#include "fixed.h"
#include "head.h"
#include "probe.h"

enum { N, C, FW, XB, SAMPLES, EPOCHS, RATE, RATE_SHIFT, SEED, ROUND, BOARD, SHIFT, DELTA_SEED, PULL, WORDS };

static uint32_t train(struct tfl_head *head, const uint32_t *word, const int8_t *q, const uint8_t *y)
{
    uint32_t loss = 0, random = tfl_mix(word[SEED], word[ROUND], 0xFFFCu, word[BOARD]);

    for (uint32_t epoch = 0; epoch < word[EPOCHS] && word[SAMPLES] > 0u; epoch++) {
        struct tfl_order order;

        loss = 0;
        tfl_order_start(&order, word[SAMPLES], tfl_mix(word[SEED], word[ROUND], epoch, word[BOARD]));
        for (uint32_t i = 1; i <= word[SAMPLES]; i++) {
            loss += tfl_head_step(head, q + order.at * word[N], y[order.at], word[RATE], word[RATE_SHIFT]).loss;
            if (i % TFL_HEAD_CLAMP_STEPS == 0u || i == word[SAMPLES]) {
                tfl_head_clamp(&head->tensor);
                random = word[PULL] > 0u ? tfl_head_return(head, word[PULL], random) : random;
            }
            tfl_order_next(&order);
        }
    }
    return loss;
}

static void evaluate(struct tfl_head *head, const uint32_t *word, const int8_t *q, const uint8_t *y, int trained)
{
    uint32_t right = 0, loss = 0;

    for (uint32_t i = 0; i < word[SAMPLES]; i++) {
        struct tfl_outcome outcome = tfl_head_evaluate(head, q + i * word[N], y[i], trained);

        right += outcome.right;
        loss += outcome.loss;
    }
    give(&right, sizeof right);
    give(&loss, sizeof loss);
}

/* Null where no bit is set. */
static const uint8_t *held_any(const uint8_t *held, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (held[i] != 0u) {
            return held;
        }
    }
    return 0;
}

static void run(const uint32_t *word)
{
    uint32_t count = (word[N] + 1u) * word[C], loss, largest, mean;
    int8_t *offset = take(word[N]);
    uint8_t *weights = take(2u * count);
    uint8_t *held = take((count + 7u) / 8u);
    int8_t *q = take(word[SAMPLES] * word[N]);
    uint8_t *y = take(word[SAMPLES]);
    uint8_t *out = malloc(2u * count);
    int16_t *initial = calloc(count, sizeof *initial);
    struct tfl_head_format format = {(uint16_t)word[N], (uint16_t)word[C], (uint8_t)word[FW],
                                     (uint8_t)word[XB], offset,            initial,
                                     held_any(held, (count + 7u) / 8u), NULL};
    struct tfl_head head = {&format,
                            {malloc(4u * count), malloc(2u * count), NULL, format.held, count},
                            malloc(4u * word[C]),
                            malloc((word[N] + 1u) * sizeof(uint32_t))};
    struct tfl_update update = {.round = 1};

    tfl_head_reset(&head);
    if (tfl_broadcast_load(&head.tensor, TFL_CODING_INT16, weights, 2u * count) != 0) {
        exit(2);
    }
    tfl_tensor_start(&head.tensor);
    loss = train(&head, word, q, y);
    tfl_codec_measure(&head.tensor, 0, &largest, &mean);
    give(&loss, sizeof loss);
    give(&largest, sizeof largest);
    evaluate(&head, word, q, y, 0);
    evaluate(&head, word, q, y, 1);
    give(head.tensor.master, 4u * count);
    update.seed = word[DELTA_SEED];
    update.shift = (uint8_t)word[SHIFT];
    give(out, tfl_codec_encode(&head.tensor, &update, out));
    tfl_tensor_pull(&head.tensor, out);
    give(out, 2u * count);
    free(offset), free(weights), free(held), free(q), free(y), free(out), free(initial);
    free(head.tensor.master), free(head.tensor.broadcast), free(head.logits), free(head.features);
}

int main(void)
{
    uint32_t word[WORDS];

    while (fread(word, sizeof word, 1, stdin) == 1) {
        run(word);
    }
    return 0;
}
