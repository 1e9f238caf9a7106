/* The chip's own flash behind the firmware, written by its NVMC. */
#ifndef TFL_NRF51_FLASH_H
#define TFL_NRF51_FLASH_H

#include "tfl/tfl_port.h"

#if defined(TFL_STORE_ADDRESS)
void flash_open(struct tfl_port *port);
#else /* inference alone */
static inline void flash_open(struct tfl_port *port)
{
    (void)port;
}
#endif

#endif
