/* Trains adapters on an emulated core: cases (tests/c/adapter_case.h) from the host's file "input", answers to "output", by
   semihosting. Exit 0, or the line that failed. */
#include "adapter_case.h"
#include "semihosting.h"
#include "ticks.h"

static uint32_t in, out;
static int32_t memory[(1u << 20) / 4u];
static uint32_t used; /* words */

static void *room(uint32_t size)
{
    int32_t *data = memory + used;

    used += (size + 3u) / 4u;
    NEED(used <= sizeof memory / sizeof memory[0]);
    return data;
}

static void *take(uint32_t size)
{
    void *data = room(size);

    NEED(transfer(READ, in, data, size) == 0u);
    return data;
}

static void give(const void *data, uint32_t size)
{
    NEED(transfer(WRITE, out, data, size) == 0u);
}

static uint32_t ticks(void)
{
    __asm volatile("" ::: "memory");
    return ticks_read();
}

int main(int argc, char **argv)
{
    uint32_t word[WORDS];

    (void)argc;
    (void)argv;
    ticks_start();
    in = open_file("input", 5u, 1u);
    out = open_file("output", 6u, 5u);
    while (transfer(READ, in, word, sizeof word) == 0u) {
        used = 0;
        run_case(word);
    }
    leave(0);
    return 0;
}
