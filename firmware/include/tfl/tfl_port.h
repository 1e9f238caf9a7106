/* All that a board family supplies. A port is one folder under firmware/ports with four to six functions. */
#ifndef TFL_PORT_H
#define TFL_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "tfl_config.h"

#define TFL_SPLITS 2u /* 0: train, 1: test */
#define TFL_BOARD_NAME_BYTES 16u

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

    /* Optional: called when there is nothing to do; returns at the latest when a byte arrives (WFI, poll). */
    void (*idle)(void *context);

    uint32_t samples[TFL_SPLITS]; /* how many `sample` can give; TFL_MAX_SAMPLES of a split are used */
    uint32_t sample_bytes;        /* what `sample` writes to x: it is not called where the model's input is another */
    uint8_t *cache;               /* RAM that nobody else uses, for the node's embeddings; 4-byte aligned */
    uint32_t cache_bytes;
    uint32_t boot;                /* differs from one boot to the next as well as the board can */
    uint8_t tick_numerator;
    uint8_t tick_denominator;
    char name[TFL_BOARD_NAME_BYTES]; /* zero-padded */
};

/* Implemented by the port: called once by main(), before the node starts. 0 or a negative tfl_error. */
int tfl_port_init(struct tfl_port *port, int argc, char **argv);

#endif
