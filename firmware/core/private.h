/* Tensors that stay on their board (docs/DESIGN.md, "Adapter"): weights come from the server for the others alone.

   A private tensor has its two copies too: the broadcast weights are where the last round that counted ended, rounded as
   the server would have; the master weights what was trained since. They move on as the residual does: when the server
   says that the round counted. */
#ifndef TFL_PRIVATE_H
#define TFL_PRIVATE_H

#include "tfl/tfl_node.h"

/* Bits of a set of tensors. */
#define TFL_TENSOR_HEAD 1u
#define TFL_TENSOR_ADAPTER 2u
#define TFL_TENSOR_ALL 3u /* also where there is no adapter */

#define TFL_PRIVATE_NEVER 0xFFFFFFFFu /* a private_round that no round is */

/* The weights of one tensor, or of all: behind each other, for what takes no account of held ones and residuals. */
const struct tfl_tensor *tfl_weights_of(const struct tfl_node *node, unsigned tensors);

/* Before weights of these tensors are taken: the private weights after round `taken`, compiled ones for 0. 0, or
   TFL_ERROR_RESIDUAL where the board does not hold them. */
int tfl_private_settle(struct tfl_node *node, unsigned tensors, uint32_t taken) TFL_CHECKED;

/* After it: what is not of these tensors is private from now on. */
void tfl_private_share(struct tfl_node *node, unsigned tensors);

#endif
