/* Weights and residuals that outlive a reset: written at most once a round, as flash wears.

   A record's payload: the broadcast weights of head and adapter, int16 little-endian. Behind them, with feedback: `taken`
   u32, the residual after the record's round and the one after round `taken`, int32 each, as the server may not have taken
   the record's update. Where a tensor is private: private_round u32, the tensors that are not u32 and, if it was trained
   in the record's round, what it came to, int16. */
#ifndef TFL_KEEP_H
#define TFL_KEEP_H

#include "tfl/tfl_node.h"

/* Payload of this node's records, at least and at most. */
uint32_t tfl_keep_least(const struct tfl_node *node);
uint32_t tfl_keep_bytes(const struct tfl_node *node);

/* At start-up: the kept weights where they are this model's, else those that it was compiled with. 0 or
   TFL_ERROR_STORE. */
int tfl_keep_restore(struct tfl_node *node) TFL_CHECKED;

/* Keeps the broadcast weights of a round, unless they are kept already, and the private ones. 0, also where the board has
   no store; or TFL_ERROR_STORE. */
int tfl_keep_head(struct tfl_node *node, uint32_t round) TFL_CHECKED;

/* The same of the head that training began with, with feedback and the residuals where the store has room for them. */
int tfl_keep_update(struct tfl_node *node, const struct tfl_update *update) TFL_CHECKED;

/* Reads the residual after round `taken`; 1: it is there; 0: it is not; or TFL_ERROR_STORE. */
int tfl_keep_residual(struct tfl_node *node, uint32_t taken) TFL_CHECKED;

#endif
