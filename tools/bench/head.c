/* Trains heads on an emulated core and counts: files "input" and "output" of the host, by semihosting. A case is 11 u32
   (N, C, fw, xb, samples, epochs, rate, rate shift, seed, round, board), offsets, weights int16, embeddings, labels;
   its answer the ticks of all steps, clamps included, the last epoch's sum of losses and the master weights. First of
   all come the ticks' numerator and denominator. Exit 0, or the line that failed. */
#include "fixed.h"
#include "head.h"
#include "ticks.h"
#include "../../tests/emulated/semihosting.h"

#define MAX_FEATURES 256u
#define MAX_WEIGHTS (257u * 12u)
#define MAX_SAMPLES 512u
#define GUARD 0x5A5A5A5A

enum { N, C, FW, XB, SAMPLES, EPOCHS, RATE, RATE_SHIFT, SEED, ROUND, BOARD, WORDS };

static int8_t offset[MAX_FEATURES], embeddings[MAX_SAMPLES * 64u];
static int16_t initial[MAX_WEIGHTS], broadcast[MAX_WEIGHTS];
static int32_t master[MAX_WEIGHTS + 1u], logits[MAX_FEATURES + 1u];
static uint32_t features[MAX_FEATURES + 2u];
static uint8_t labels[MAX_SAMPLES];

static uint32_t now(void)
{
    __asm volatile("" ::: "memory");
    return ticks_read();
}

static uint32_t empty(void)
{
    uint32_t start = now();

    return now() - start;
}

/* As node.c trains. Returns the last epoch's sum of losses. */
static uint32_t train(struct tfl_head *head, const uint32_t *word, uint32_t *ticks)
{
    uint32_t loss = 0, nothing = empty();

    for (uint32_t epoch = 0; epoch < word[EPOCHS]; epoch++) {
        struct tfl_order order;

        loss = 0;
        tfl_order_start(&order, word[SAMPLES], tfl_mix(word[SEED], word[ROUND], epoch, word[BOARD]));
        for (uint32_t done = 1; done <= word[SAMPLES]; done++) {
            const int8_t *q = embeddings + order.at * word[N];
            uint32_t start = now();

            loss += tfl_head_step(head, q, labels[order.at], word[RATE], word[RATE_SHIFT]).loss;
            if (done == word[SAMPLES] || done % TFL_HEAD_CLAMP_STEPS == 0u) {
                tfl_head_clamp(&head->tensor);
            }
            *ticks += now() - start - nothing;
            tfl_order_next(&order);
        }
    }
    return loss;
}

static void run_case(const uint32_t *word, uint32_t in, uint32_t out)
{
    struct tfl_head_format format = {(uint16_t)word[N], (uint16_t)word[C], (uint8_t)word[FW],
                                     (uint8_t)word[XB], offset,            initial, 0, 0};
    uint32_t count = tfl_head_count(&format), answer[2] = {0, 0};
    struct tfl_head head = {&format, {master, broadcast, 0, 0, count}, logits, features};

    NEED(word[N] <= MAX_FEATURES && count <= MAX_WEIGHTS && word[SAMPLES] <= MAX_SAMPLES);
    NEED(word[SAMPLES] * word[N] <= sizeof embeddings);
    NEED(transfer(READ, in, offset, word[N]) == 0u && transfer(READ, in, initial, 2u * count) == 0u);
    NEED(transfer(READ, in, embeddings, word[SAMPLES] * word[N]) == 0u);
    NEED(transfer(READ, in, labels, word[SAMPLES]) == 0u);
    master[count] = logits[word[C]] = GUARD;
    features[word[N] + 1u] = GUARD;
    tfl_head_reset(&head);
    answer[1] = train(&head, word, answer);
    NEED(master[count] == GUARD && logits[word[C]] == GUARD && features[word[N] + 1u] == GUARD);
    NEED(transfer(WRITE, out, answer, sizeof answer) == 0u && transfer(WRITE, out, master, 4u * count) == 0u);
}

int main(int argc, char **argv)
{
    const uint32_t unit[2] = {TICKS_NUMERATOR, TICKS_DENOMINATOR};
    uint32_t in = open_file("input", 5u, 1u);
    uint32_t out = open_file("output", 6u, 5u);
    uint32_t word[WORDS];

    (void)argc;
    (void)argv;
    ticks_start();
    NEED(transfer(WRITE, out, unit, sizeof unit) == 0u);
    while (transfer(READ, in, word, sizeof word) == 0u) {
        run_case(word, in, out);
    }
    (void)transfer(CLOSE, out, 0, 0);
    leave(0);
    return 0;
}
