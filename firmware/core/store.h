/* What a board keeps over a reset (docs/DESIGN.md, "Store"): its head, never torn; a boot counter; its key. */
#ifndef TFL_STORE_H
#define TFL_STORE_H

#include <stdint.h>

#include "tfl/tfl_port.h"
#include "tfl/tfl_wire.h"

#define TFL_MODEL_HASH_BYTES 16u

struct tfl_store {
    const struct tfl_port *port; /* its flash may be null: then nothing is kept */
    uint32_t boot;               /* of this life: rises by one at every mount; without usable flash the port's */
    uint32_t sequence;           /* of the newest record; 0: there is none */
    uint32_t slot_pages;         /* of each of the two slots; 0: no usable flash */
    uint32_t capacity;           /* bytes of a record's payload; 0: no head can be kept */
    uint8_t slot;                /* of the newest record */
};

/* A record: what the board needs to go on after a reset. */
struct tfl_kept {
    uint8_t model[TFL_MODEL_HASH_BYTES];
    uint32_t round;
    uint32_t head_bytes;     /* the broadcast head, int16 little-endian in wire order */
    uint32_t residual_bytes; /* of what error feedback keeps, behind the head; 0: none */
};

/* Writes `size` bytes of a payload, from `offset` on, to data. */
typedef void (*tfl_store_give)(void *context, uint32_t offset, uint8_t *data, uint32_t size);

/* Finds the newest record that is whole and counts the boot; payload: bytes that the records of this board may have.
   Flash with slots too small for them leaves capacity 0; boots and the key are still kept where a page will do. 0, or
   TFL_ERROR_STORE where the flash fails: then the boot is not counted, so a board with a key should not go on. */
int tfl_store_mount(struct tfl_store *store, const struct tfl_port *port, uint32_t payload) TFL_CHECKED;

/* 1: the newest record's description; 0: no head is kept; or TFL_ERROR_STORE. */
int tfl_store_find(const struct tfl_store *store, struct tfl_kept *kept) TFL_CHECKED;

/* Bytes of the newest record's payload (head, then residual). 0 or TFL_ERROR_STORE. */
int tfl_store_read(const struct tfl_store *store, uint32_t offset, uint8_t *data, uint32_t size) TFL_CHECKED;

/* Lets records have a larger payload than was mounted for, if the slots have room; else all is as before. */
void tfl_store_extend(struct tfl_store *store, uint32_t payload);

/* Writes a record in place of the older one; a power cut at any moment leaves the newest one or this. The payload is
   asked of `give` from its first byte to its last, once. 0, TFL_ERROR_STORE, or TFL_ERROR_SPACE where it is larger than
   capacity. */
int tfl_store_write(struct tfl_store *store, const struct tfl_kept *kept, tfl_store_give give, void *context)
    TFL_CHECKED;

/* The board's key of 32 bytes; 1: there is one, 0: none; TFL_ERROR_STORE: nobody knows. */
int tfl_store_key(const struct tfl_store *store, uint8_t key[32]) TFL_CHECKED;

/* Keeps a key in place of the one before. 0, TFL_ERROR_STORE, TFL_ERROR_SPACE where the page is full. */
int tfl_store_enrol(struct tfl_store *store, const uint8_t key[32]) TFL_CHECKED;

#endif
