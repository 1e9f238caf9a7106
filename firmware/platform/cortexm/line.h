/* The receiving half of a board's serial line, and what else all Cortex-M boards give to their port. */
#ifndef TFL_LINE_H
#define TFL_LINE_H

#include <stdint.h>

#include "tfl/tfl_port.h"

/* From the receive interrupt. A byte that finds the buffer full is lost: the host repeats its frame. */
void tfl_line_put(uint8_t byte);

/* Clears the port and sets what is the same on every board: read, idle, cache, boot, window. */
void tfl_line_describe(struct tfl_port *port);

#endif
