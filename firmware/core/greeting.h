/* HELLO and WELCOME: who the board is, and whom it takes orders from. */
#ifndef TFL_GREETING_H
#define TFL_GREETING_H

#include "tfl/tfl_node.h"

/* Writes the WELCOME that answers a HELLO; 0, or TFL_ERROR_STORE where the key cannot be read. A board that holds a key
   takes nothing without a MAC from here on. */
int tfl_greeting_welcome(struct tfl_node *node, const uint8_t *hello, uint32_t hello_bytes, uint8_t *welcome)
    TFL_CHECKED;

#endif
