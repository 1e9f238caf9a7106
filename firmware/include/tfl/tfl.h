/* tinyfl firmware core, public interface. The caller owns all memory; nothing is allocated, nothing is global. */
#ifndef TFL_H
#define TFL_H

#include "tfl_config.h"
#include "tfl_model.h"
#include "tfl_port.h"
#include "tfl_wire.h" /* generated: enum tfl_error, message types */

#endif
