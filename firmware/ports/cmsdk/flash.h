/* These machines have no flash: memory that an emulator's reset leaves as it is, with the rules of flash. */
#ifndef TFL_CMSDK_FLASH_H
#define TFL_CMSDK_FLASH_H

#include "tfl/tfl_port.h"

#if defined(TFL_STORE_PAGES)
void flash_open(struct tfl_port *port);
#else /* inference alone */
static inline void flash_open(struct tfl_port *port)
{
    (void)port;
}
#endif

#endif
