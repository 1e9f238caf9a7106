/* All that a board family supplies. A port is one folder under firmware/ports. */
#ifndef TFL_PORT_H
#define TFL_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "tfl_config.h"

#define TFL_SPLITS 2u /* 0: train, 1: test */
#define TFL_BOARD_NAME_BYTES 16u
#define TFL_DEVICE_BYTES 8u

/* Flash that the firmware may write, with flash's rules: erasing sets a page to ones, programming only clears bits. All
   return 0 or TFL_ERROR_STORE. Offsets count from the start of the region; programming takes whole, aligned words. */
struct tfl_flash {
    int (*read)(void *context, uint32_t offset, uint8_t *data, uint32_t size);
    int (*program)(void *context, uint32_t offset, const uint8_t *data, uint32_t size);
    int (*erase)(void *context, uint32_t page);
    uint32_t page_bytes, page_count;
};

struct tfl_port {
    void *context;

    /* Copies up to size received bytes; 0 when there are none. Never blocks. Negative: the link is gone. */
    int (*read)(void *context, uint8_t *data, size_t size);

    /* Sends size bytes; returns size, or a negative tfl_error. May block until the link accepts them. */
    int (*write)(void *context, const uint8_t *data, size_t size);

    /* Copies sample `index` of `split` to x (the model's input bytes) and its class to *label; 0 or a tfl_error.
       Null where the board has no data of its own (FEED only). */
    int (*sample)(void *context, unsigned split, uint32_t index, int8_t *x, uint8_t *label);

    /* Optional: a free-running counter; instructions = ticks * tick_numerator / tick_denominator. Null: not counted. */
    uint32_t (*ticks)(void *context);

    /* Optional: 32 bits that nobody can guess. Null: the board has no such source. */
    uint32_t (*random)(void *context);

    /* Optional: where the node keeps its head, boot counter and key. Null: nothing is kept over a reset. */
    const struct tfl_flash *flash;

    /* Optional: called when there is nothing to do; returns at the latest when a byte arrives (WFI, poll). */
    void (*idle)(void *context);

    uint32_t samples[TFL_SPLITS]; /* how many `sample` can give; TFL_MAX_SAMPLES of a split are used */
    uint32_t sample_bytes;        /* what `sample` writes to x: it is not called where the model's input is another */
    uint8_t *cache;               /* RAM that nobody else uses, for the node's embeddings; 4-byte aligned */
    uint32_t cache_bytes;
    uint32_t boot;                /* differs from one boot to the next as well as the board can; without flash only */
    uint16_t window;              /* bytes that the link takes in while nobody reads; at least one frame */
    uint8_t device[TFL_DEVICE_BYTES]; /* tells this board from every other one; zeros: it cannot */
    uint8_t tick_numerator;
    uint8_t tick_denominator;
    char name[TFL_BOARD_NAME_BYTES]; /* zero-padded */
};

/* Implemented by the port: called once by main(), before the node starts. 0 or a negative tfl_error. */
int tfl_port_init(struct tfl_port *port, int argc, char **argv);

#endif
