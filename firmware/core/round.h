/* The requests of a round: HEAD, OFFER, TRAIN, COLLECT. */
#ifndef TFL_ROUND_H
#define TFL_ROUND_H

#include "tfl/tfl_node.h"

/* Each returns the length of its reply, TFL_LATER, or a negative tfl_error. */
int tfl_round_head(struct tfl_node *node) TFL_CHECKED;
int tfl_round_offer(struct tfl_node *node) TFL_CHECKED;
int tfl_round_train(struct tfl_node *node) TFL_CHECKED;
int tfl_round_collect(struct tfl_node *node) TFL_CHECKED;

/* One step of a TRAIN. */
int tfl_round_poll(struct tfl_node *node) TFL_CHECKED;

/* The end of an OFFER, once its head has been measured on all training samples. */
int tfl_round_offered(struct tfl_node *node) TFL_CHECKED;

#endif
