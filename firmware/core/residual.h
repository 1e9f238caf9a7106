/* Error feedback: what of v an update did not carry is added to the next one's (docs/DESIGN.md, "Updates").

   An update that the server did not take is as if the board had not trained: the residual moves on only when the server
   says so (`taken`), and is then computed once more from what the update was made of. */
#ifndef TFL_RESIDUAL_H
#define TFL_RESIDUAL_H

#include "tfl/tfl_node.h"

/* Before the master weights change: taken is the last round in which this board's update counted. */
void tfl_residual_settle(struct tfl_node *node, uint32_t taken);

/* After it: the residual after round `taken`, zeros for 0. 0; TFL_ERROR_RESIDUAL where neither memory nor the store has
   it; TFL_ERROR_STORE. */
int tfl_residual_recall(struct tfl_node *node, uint32_t taken) TFL_CHECKED;

#endif
