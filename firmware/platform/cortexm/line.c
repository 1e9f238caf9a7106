#include "line.h"

#include <string.h>

#include "start.h"

#ifndef TFL_RING_BYTES
#define TFL_RING_BYTES 2048u /* a power of two; holds two frames of TFL_CHUNK */
#endif

/* The interrupt is the only writer, the main loop the only reader. */
static struct {
    volatile uint32_t head; /* bytes ever written */
    volatile uint32_t tail; /* bytes ever read */
    volatile uint8_t data[TFL_RING_BYTES];
} ring;

void tfl_line_put(uint8_t byte)
{
    if (ring.head - ring.tail < TFL_RING_BYTES) {
        ring.data[ring.head % TFL_RING_BYTES] = byte;
        ring.head = ring.head + 1u;
    }
}

static int line_read(void *context, uint8_t *data, size_t size)
{
    size_t count = 0;

    (void)context;
    while (count < size && ring.tail != ring.head) {
        data[count++] = ring.data[ring.tail % TFL_RING_BYTES];
        ring.tail = ring.tail + 1u;
    }
    return (int)count;
}

/* Sleeps until a byte is there. With interrupts masked a pending one still ends WFI: none slips in between. */
static void line_idle(void *context)
{
    (void)context;
    __asm volatile("cpsid i" ::: "memory");
    if (ring.head == ring.tail) {
        __asm volatile("dsb\n\twfi" ::: "memory");
    }
    __asm volatile("cpsie i" ::: "memory");
}

void tfl_line_describe(struct tfl_port *port)
{
    memset(port, 0, sizeof *port);
    port->read = line_read;
    port->idle = line_idle;
    port->cache = tfl_cache_start;
    port->cache_bytes = (uint32_t)(tfl_cache_end - tfl_cache_start);
    port->boot = tfl_boots;
    port->window = TFL_RING_BYTES;
}
