#include "flash.h"

#if defined(TFL_STORE_PAGES)

#include <string.h>

#include "tfl/tfl_wire.h"

#define PAGE_BYTES 1024u
#define FLASH_BYTES (PAGE_BYTES * TFL_STORE_PAGES)

/* A section of its own (cortexm.ld): it stands for flash and does not count as the board's RAM. */
__attribute__((section(".noinit.store"), aligned(4))) static uint8_t flash[FLASH_BYTES];

static int inside(uint32_t offset, uint32_t size)
{
    return offset <= FLASH_BYTES && size <= FLASH_BYTES - offset;
}

static int flash_read(void *context, uint32_t offset, uint8_t *data, uint32_t size)
{
    (void)context;
    if (!inside(offset, size)) {
        return TFL_ERROR_STORE;
    }
    memcpy(data, flash + offset, size);
    return 0;
}

static int flash_program(void *context, uint32_t offset, const uint8_t *data, uint32_t size)
{
    (void)context;
    if (!inside(offset, size) || offset % 4u != 0u || size % 4u != 0u) {
        return TFL_ERROR_STORE;
    }
    for (uint32_t i = 0; i < size; i++) {
        if ((data[i] & ~flash[offset + i]) != 0) {
            return TFL_ERROR_STORE; /* only an erase sets a bit */
        }
    }
    memcpy(flash + offset, data, size);
    return 0;
}

static int flash_erase(void *context, uint32_t page)
{
    (void)context;
    if (page >= TFL_STORE_PAGES) {
        return TFL_ERROR_STORE;
    }
    memset(flash + page * PAGE_BYTES, 0xFF, PAGE_BYTES);
    return 0;
}

void flash_open(struct tfl_port *port)
{
    static const struct tfl_flash driver = {flash_read, flash_program, flash_erase, PAGE_BYTES, TFL_STORE_PAGES};

    port->flash = &driver;
}

#endif
