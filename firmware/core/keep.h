/* The head and the residuals that outlive a reset: written at most once a round, as flash wears.

   A record's payload: the broadcast head, int16 little-endian; with feedback behind it `taken` u32, the residual after
   the record's round and the one after round `taken`, int32 each: the server may not have taken the record's update. */
#ifndef TFL_KEEP_H
#define TFL_KEEP_H

#include "tfl/tfl_node.h"

/* Largest payload of this node's records. */
uint32_t tfl_keep_bytes(const struct tfl_node *node);

/* At start-up, the head being as it was compiled: takes the kept head where it is this model's. 0 or TFL_ERROR_STORE. */
int tfl_keep_restore(struct tfl_node *node) TFL_CHECKED;

/* Keeps the broadcast head of a round unless it is kept already. 0, also where the board has no store; or
   TFL_ERROR_STORE. */
int tfl_keep_head(struct tfl_node *node, uint32_t round) TFL_CHECKED;

/* The same of the head that training began with, with feedback and the residuals where the store has room for them. */
int tfl_keep_update(struct tfl_node *node, const struct tfl_update *update) TFL_CHECKED;

/* Reads the residual after round `taken`; 1: it is there; 0: it is not; or TFL_ERROR_STORE. */
int tfl_keep_residual(struct tfl_node *node, uint32_t taken) TFL_CHECKED;

#endif
