/* The head that outlives a reset: written at most once a round, as flash wears. */
#ifndef TFL_KEEP_H
#define TFL_KEEP_H

#include "tfl/tfl_node.h"

/* At start-up, the head being as it was compiled: takes the kept head where it is this model's. 0 or TFL_ERROR_STORE. */
int tfl_keep_restore(struct tfl_node *node) TFL_CHECKED;

/* Keeps a round's broadcast head, int16 little-endian in wire order, unless it is kept already. 0, also where the board
   has no store; or TFL_ERROR_STORE. */
int tfl_keep_head(struct tfl_node *node, uint32_t round, const uint8_t *weights) TFL_CHECKED;

/* The same of the head that training began with; overwrites the session's body. */
int tfl_keep_broadcast(struct tfl_node *node, uint32_t round) TFL_CHECKED;

#endif
