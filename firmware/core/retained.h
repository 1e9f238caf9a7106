/* A long request that is not whole yet: its units lie in the body, the record of them here. With the body it outlives a
   HELLO, and a reset where both lie in memory that a reset does not clear (TFL_RETAINED). */
#ifndef TFL_RETAINED_H
#define TFL_RETAINED_H

#include <stdint.h>

#include "tfl/tfl_config.h"
#include "tfl/tfl_wire.h"

typedef char tfl_units_are_numbered_in_16_bits[TFL_MAX_UNITS < 0xFFFEu ? 1 : -1];

/* No padding: the check covers every byte above it. */
struct tfl_retained {
    uint32_t type; /* 0: there is none */
    uint32_t length, digest;
    uint32_t units; /* XOR over the units that are there of the CRC-32 of unit number u16 and bytes */
    uint8_t bitmap[(TFL_MAX_UNITS + 31u) / 32u * 4u];
    uint32_t check; /* CRC-32 of all above */
};

/* After a reset, whatever memory holds: what is there counts only if the record and every unit are as they were.
   Returns how many units there are. */
uint32_t tfl_retained_recall(struct tfl_retained *r, const uint8_t *body, uint32_t body_bytes);

void tfl_retained_forget(struct tfl_retained *r);

/* A request whose first unit is still to come; length within the body. */
void tfl_retained_begin(struct tfl_retained *r, uint8_t type, uint32_t length, uint32_t digest);

/* Takes the units from `first` on, which lie within the request: whole ones, but for its last. Those that are there are
   left as they are; returns how many were not. */
uint32_t tfl_retained_add(struct tfl_retained *r, uint8_t *body, uint32_t first, const uint8_t *data, uint32_t size);

static inline uint32_t tfl_units(uint32_t length)
{
    return (length + TFL_UNIT - 1u) / TFL_UNIT;
}

static inline uint32_t tfl_least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline int tfl_bit(const uint8_t *bitmap, uint32_t i)
{
    return bitmap[i / 8u] >> (i % 8u) & 1;
}

static inline void tfl_bit_set(uint8_t *bitmap, uint32_t i)
{
    bitmap[i / 8u] = (uint8_t)(bitmap[i / 8u] | 1u << (i % 8u));
}

#endif
