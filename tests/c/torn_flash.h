/* A flash in memory that enforces the rules and loses power in the middle of a chosen operation, for tests of store.c. It is
   stricter than struct tfl_flash asks for: a word is programmed once between two erases. */
#ifndef TORN_FLASH_H
#define TORN_FLASH_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tfl/tfl_port.h"
#include "tfl/tfl_wire.h"

#define FLASH_MOST 0x10000u

static struct {
    uint8_t memory[FLASH_MOST], saved[FLASH_MOST];
    struct tfl_flash port;
    long cut, blind; /* operations, reads to come; 0: never */
    int how;
    uint32_t random;
    unsigned erases, programs, bytes;
    jmp_buf dark;
} flash;

static void rule(int holds, const char *text)
{
    if (!holds) {
        (void)fprintf(stderr, "flash: %s\n", text);
        abort();
    }
}

static uint32_t size_of_flash(void)
{
    return flash.port.page_bytes * flash.port.page_count;
}

static uint8_t noise(void)
{
    flash.random ^= flash.random << 13;
    flash.random ^= flash.random >> 17;
    flash.random ^= flash.random << 5;
    return (uint8_t)(flash.random >> 8);
}

/* What an operation on bytes does that ends early; data null: it erases. HOW 0: nothing yet; 1: its first half, a word of
   them by half its bits; 2: its last bytes are missing; 3: all, and then the power goes; 4: any bits of it. */
static void tear(uint8_t *memory, const uint8_t *data, uint32_t size, int how)
{
    uint32_t done = how == 0 || how == 4 ? 0u : how == 1 ? size / 8u * 4u + 2u : how == 2 ? size - 2u : size;

    for (uint32_t i = 0; i < size; i++) {
        uint8_t mask = i < done ? 0xFFu : how == 4 ? noise() : 0u;

        memory[i] = data == NULL ? (uint8_t)(memory[i] | mask) : (uint8_t)(memory[i] & (data[i] | (uint8_t)~mask));
    }
}

/* Tears an operation and never comes back, or 1: it fails, or 0: it may go on. */
static int interrupted(uint8_t *memory, const uint8_t *data, uint32_t size)
{
    if (flash.cut == 0 || --flash.cut > 0) {
        return 0;
    }
    if (flash.how != 5) {
        tear(memory, data, size, flash.how);
        longjmp(flash.dark, 1);
    }
    return 1;
}

static int flash_read(void *context, uint32_t offset, uint8_t *data, uint32_t size)
{
    rule(context == &flash && offset <= size_of_flash() && size <= size_of_flash() - offset, "read outside");
    if (flash.blind > 0 && --flash.blind == 0) {
        return TFL_ERROR_STORE;
    }
    memcpy(data, flash.memory + offset, size);
    return 0;
}

static int flash_program(void *context, uint32_t offset, const uint8_t *data, uint32_t size)
{
    rule(context == &flash && size > 0u && offset <= size_of_flash() && size <= size_of_flash() - offset, "program outside");
    rule(offset % 4u == 0u && size % 4u == 0u, "no whole words");
    for (uint32_t i = 0; i < size; i++) {
        rule(flash.memory[offset + i] == 0xFFu, "programmed where it was not erased");
    }
    flash.programs++;
    flash.bytes += size;
    if (interrupted(flash.memory + offset, data, size)) {
        return TFL_ERROR_STORE;
    }
    memcpy(flash.memory + offset, data, size);
    return 0;
}

static int flash_erase(void *context, uint32_t page)
{
    uint8_t *memory = flash.memory + page * flash.port.page_bytes;

    rule(context == &flash && page < flash.port.page_count, "erase outside");
    flash.erases++;
    if (interrupted(memory, NULL, flash.port.page_bytes)) {
        return TFL_ERROR_STORE;
    }
    memset(memory, 0xFF, flash.port.page_bytes);
    return 0;
}

#endif
