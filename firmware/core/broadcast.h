/* Broadcast weights as they come over the wire: docs/WIRE.md, "Coded weights". */
#ifndef TFL_BROADCAST_H
#define TFL_BROADCAST_H

#include "tensor.h"
#include "tfl/tfl_config.h"

enum tfl_coding {
    TFL_CODING_INT16,
    TFL_CODING_INT8,      /* with a power of two for all weights */
    TFL_CODING_DIFFERENCE /* to the broadcast weights that the board holds */
};

/* Broadcast weights from `size` coded bytes; the master weights stay as they are. Nothing changes where it fails:
   TFL_ERROR_LENGTH, TFL_ERROR_ARGUMENT (a coding that does not exist, a weight beyond +-TFL_MAX_WEIGHT), or
   TFL_ERROR_DIGEST: a difference to other weights than the board's. */
int tfl_broadcast_load(const struct tfl_tensor *tensor, unsigned coding, const uint8_t *bytes, uint32_t size) TFL_CHECKED;

#endif
