/* Inference alone, measured: runs every layer and the whole model, reports the counts, sleeps. tinyfl profile reads, in
   u32 little-endian: "TFLP", numerator, denominator, layers + 1 (the last one: all together) counts of ticks, bytes of
   stack used (0: not known), a sum of all the words before. */
#include "model.h"
#include "tfl/tfl_port.h"

#define MAGIC 0x504C4654u
#define ROUNDS 2u /* the first one warms up what a chip may have of caches and prefetch */

#if defined(__arm__)
#include "start.h"

static uint32_t stack_used(void)
{
    const volatile uint32_t *word = tfl_stack_start;

    while (word < tfl_stack_end && *word == TFL_STACK_PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)tfl_stack_end - (uintptr_t)word);
}
#else
static uint32_t stack_used(void)
{
    return 0;
}
#endif

/* int32_t: kernels may read the arena in words. */
static int32_t arena[(TFL_MODEL_ARENA_BYTES + 3u) / 4u];
static uint32_t counts[TFL_MODEL_LAYERS + 1u];

static uint32_t now(const struct tfl_port *port)
{
    return port->ticks != 0 ? port->ticks(port->context) : 0u;
}

static uint32_t measure(const struct tfl_port *port, unsigned first, unsigned last)
{
    uint32_t start = now(port);

    tfl_model.run((int8_t *)arena, first, last);
    __asm volatile("" ::: "memory");
    return now(port) - start;
}

static void send(const struct tfl_port *port, uint32_t word, uint32_t *sum)
{
    const uint8_t bytes[4] = {(uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16), (uint8_t)(word >> 24)};

    *sum += word;
    (void)port->write(port->context, bytes, sizeof bytes);
}

static void report(const struct tfl_port *port)
{
    uint32_t sum = 0;

    send(port, MAGIC, &sum);
    send(port, port->tick_numerator, &sum);
    send(port, port->tick_denominator, &sum);
    for (unsigned layer = 0; layer <= TFL_MODEL_LAYERS; layer++) {
        send(port, counts[layer], &sum);
    }
    send(port, stack_used(), &sum);
    send(port, sum, &sum);
}

int main(int argc, char **argv)
{
    struct tfl_port port;
    uint32_t empty;
    uint8_t byte;

    if (tfl_port_init(&port, argc, argv) != 0) {
        return 1;
    }
    empty = measure(&port, 0, 0); /* what reading the counter costs */
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned layer = 0; layer < TFL_MODEL_LAYERS; layer++) {
            counts[layer] = measure(&port, layer, layer + 1u) - empty;
        }
        counts[TFL_MODEL_LAYERS] = measure(&port, 0, TFL_MODEL_LAYERS) - empty;
    }
    report(&port); /* a byte from the host would have interrupted what was measured */
    for (;;) {      /* and again for each byte that arrives: a host may connect late */
        while (port.read(port.context, &byte, 1u) == 1) {
            report(&port);
        }
        port.idle(port.context);
    }
}
