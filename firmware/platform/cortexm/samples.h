/* The samples of a board without a sensor: the data image at the board table's address. */
#ifndef TFL_SAMPLES_H
#define TFL_SAMPLES_H

#include "tfl/tfl_port.h"

#if defined(TFL_DATA_ADDRESS)
/* Gives the port the image's samples and name, and a device id from the name; leaves it as it is where no valid image
   lies there. */
void tfl_samples_open(struct tfl_port *port);
#else /* inference alone */
static inline void tfl_samples_open(struct tfl_port *port)
{
    (void)port;
}
#endif

#endif
