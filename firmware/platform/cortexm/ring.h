/* Received bytes on their way from the interrupt (the only writer) to the main loop (the only reader). */
#ifndef TFL_RING_H
#define TFL_RING_H

#include <stddef.h>
#include <stdint.h>

#ifndef TFL_RING_BYTES
#define TFL_RING_BYTES 512u /* a power of two; holds TFL_CREDITS frames */
#endif

struct tfl_ring {
    volatile uint32_t head; /* bytes ever written */
    volatile uint32_t tail; /* bytes ever read */
    volatile uint8_t data[TFL_RING_BYTES];
};

/* A byte that finds the ring full is lost: the host repeats its frame. */
static inline void tfl_ring_put(struct tfl_ring *ring, uint8_t byte)
{
    if (ring->head - ring->tail < TFL_RING_BYTES) {
        ring->data[ring->head % TFL_RING_BYTES] = byte;
        ring->head = ring->head + 1u;
    }
}

static inline int tfl_ring_get(struct tfl_ring *ring, uint8_t *data, size_t size)
{
    size_t count = 0;

    while (count < size && ring->tail != ring->head) {
        data[count++] = ring->data[ring->tail % TFL_RING_BYTES];
        ring->tail = ring->tail + 1u;
    }
    return (int)count;
}

/* Sleeps until a byte is there. With interrupts masked a pending one still ends WFI: none slips in between. */
static inline void tfl_ring_wait(struct tfl_ring *ring)
{
    __asm volatile("cpsid i" ::: "memory");
    if (ring->head == ring->tail) {
        __asm volatile("dsb\n\twfi" ::: "memory");
    }
    __asm volatile("cpsie i" ::: "memory");
}

#endif
