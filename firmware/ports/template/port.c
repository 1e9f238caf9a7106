/* A port to begin with: it compiles, and each function says what your board has to do. See docs/PORTING.md. */
#include <string.h>

#include "tfl/tfl_port.h"
#include "tfl/tfl_wire.h" /* enum tfl_error */

/* RAM that is left over; the linker script may know more of it. Larger: fewer runs of the backbone an epoch. */
static uint32_t cache[256];

/* Copies what the UART's interrupt has put into a ring buffer that holds port->window bytes. Never waits. */
static int line_read(void *context, uint8_t *data, size_t size)
{
    (void)context;
    (void)data;
    (void)size;
    return 0;
}

/* Waits until the UART has taken all bytes. */
static int line_write(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    (void)data;
    return (int)size;
}

/* The model's input, quantised, and its class. The same index gives the same sample in every epoch. */
static int sensor_sample(void *context, unsigned split, uint32_t index, int8_t *x, uint8_t *label)
{
    (void)context;
    (void)split;
    (void)index;
    (void)x;
    (void)label;
    return TFL_ERROR_SAMPLE;
}

/* Sleeps until a byte arrives (WFI). */
static void idle(void *context)
{
    (void)context;
}

int tfl_port_init(struct tfl_port *port, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    memset(port, 0, sizeof *port);
    port->read = line_read;
    port->write = line_write;
    port->idle = idle;
    port->sample = sensor_sample; /* leave it null where samples come by FEED alone */
    port->samples[0] = 0;         /* training samples that are there */
    port->samples[1] = 0;         /* test samples */
    port->sample_bytes = 0;       /* what sample() writes: the model's input_bytes */
    port->flash = NULL;           /* better: pages that the firmware may write, see struct tfl_flash */
    port->random = NULL;          /* better: the chip's random generator */
    port->window = 2048;          /* bytes of the ring buffer: two frames of TFL_CHUNK, or more */
    port->cache = (uint8_t *)cache;
    port->cache_bytes = sizeof cache;
    port->boot = 1; /* better: a random number, or a counter that survives a reset */
    memcpy(port->name, "template", 8);
    memset(port->device, 0, sizeof port->device); /* better: the chip's serial number */
    return 0;
}
