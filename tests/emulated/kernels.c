/* Runs compiled models on an emulated core, through files of the host: "input" and "output" in the machine's directory.
   An input is u32 case, u32 count and the inputs; the output holds the outputs. Case PRODUCTS: the inputs are pairs of
   int32 (2 x, m), the outputs floor(x m / 2^31 + 1/2). Exit 0, or the line that failed. */
#include "cases.h"
#include "fixed.h"
#include "semihosting.h"

#define GUARD 64u
#define PRODUCTS 0xFFFFFFFFu

/* int32_t: an arena is aligned to words, and here to no more. */
static int32_t memory[MEMORY / 4u];

static void run_case(const struct tfl_model *model, uint32_t count, uint32_t in, uint32_t out)
{
    int8_t *arena = (int8_t *)memory + GUARD + 4u * (count & 1u);
    int8_t *end = arena + model->arena_bytes;
    uint32_t state = count;

    NEED(model->arena_bytes + 2u * GUARD + 4u <= sizeof memory);
    for (; count > 0; count--) {
        for (int8_t *p = (int8_t *)memory; p < end + GUARD; p++) {
            *p = 0x55;
        }
        for (int8_t *p = arena; p < end; p++) { /* outputs that depend on what nobody has written show */
            state = state * 1664525u + 1013904223u;
            *p = (int8_t)(state >> 24);
        }
        NEED(transfer(READ, in, arena + model->input_offset, model->input_bytes) == 0u);
        model->run(arena, 0, model->layers);
        NEED(transfer(WRITE, out, arena + model->output_offset, model->output_bytes) == 0u);
        for (uint32_t i = 1; i <= GUARD; i++) {
            NEED(arena[-(int32_t)i] == 0x55 && end[i - 1u] == 0x55);
        }
    }
}

static void run_products(uint32_t count, uint32_t in, uint32_t out)
{
#if defined(__ARM_ARCH_6M__)
    const int32_t offset = 1 << 14;
#else
    const int32_t offset = 0;
#endif

    for (; count > 0; count--) {
        int32_t pair[2], product;

        NEED(transfer(READ, in, pair, sizeof pair) == 0u);
        product = tfl_high_mul_add(pair[0], pair[1], offset);
        NEED(transfer(WRITE, out, &product, sizeof product) == 0u);
    }
}

int main(int argc, char **argv)
{
    uint32_t in = open_file("input", 5u, 1u);
    uint32_t out = open_file("output", 6u, 5u);
    uint32_t header[2];

    (void)argc;
    (void)argv;
    while (transfer(READ, in, header, sizeof header) == 0u) {
        if (header[0] == PRODUCTS) {
            run_products(header[1], in, out);
        } else {
            NEED(header[0] < sizeof cases / sizeof cases[0]);
            run_case(cases[header[0]], header[1], in, out);
        }
    }
    (void)transfer(CLOSE, out, 0, 0);
    leave(0);
    return 0;
}
