#include "flash.h"

#if defined(TFL_STORE_ADDRESS)

#include <string.h>

#include "start.h"
#include "tfl/tfl_wire.h"

#define NVMC(offset) TFL_REGISTER(0x4001E000u + (offset))
#define NVMC_READY NVMC(0x400u)
#define NVMC_CONFIG NVMC(0x504u)
#define NVMC_ERASE_PAGE NVMC(0x508u)
#define CONFIG_READ 0u
#define CONFIG_WRITE 1u
#define CONFIG_ERASE 2u
#define PAGE_BYTES 1024u

/* An erase takes 21 ms, in which the CPU stands still: what is not ready after so many looks never will be. */
#define LOOKS 1000000u

static int ready(void)
{
    for (uint32_t look = 0; look < LOOKS; look++) {
        if ((NVMC_READY & 1u) != 0u) {
            return 1;
        }
    }
    return 0;
}

/* Ends an erase or a write; 1 where it ended well. */
static int finish(void)
{
    int ended = ready();

    NVMC_CONFIG = CONFIG_READ;
    return ended;
}

static int flash_read(void *context, uint32_t offset, uint8_t *data, uint32_t size)
{
    (void)context;
    memcpy(data, (const uint8_t *)(TFL_STORE_ADDRESS + offset), size);
    return 0;
}

/* Reading back finds both worn cells and bits that only an erase could set. */
static int flash_program(void *context, uint32_t offset, const uint8_t *data, uint32_t size)
{
    const uint8_t *written = (const uint8_t *)(TFL_STORE_ADDRESS + offset);
    int ended = 1;

    (void)context;
    NVMC_CONFIG = CONFIG_WRITE;
    for (uint32_t i = 0; ended && i < size; i += 4u) {
        TFL_REGISTER(TFL_STORE_ADDRESS + offset + i) =
            (uint32_t)data[i] | (uint32_t)data[i + 1u] << 8 | (uint32_t)data[i + 2u] << 16 | (uint32_t)data[i + 3u] << 24;
        ended = ready();
    }
    return finish() && ended && memcmp(written, data, size) == 0 ? 0 : TFL_ERROR_STORE;
}

static int flash_erase(void *context, uint32_t page)
{
    uint32_t address = TFL_STORE_ADDRESS + page * PAGE_BYTES;
    int ended;

    (void)context;
    NVMC_CONFIG = CONFIG_ERASE;
    NVMC_ERASE_PAGE = address;
    ended = finish();
    for (uint32_t i = 0; ended && i < PAGE_BYTES; i += 4u) {
        ended = TFL_REGISTER(address + i) == 0xFFFFFFFFu;
    }
    return ended ? 0 : TFL_ERROR_STORE;
}

void flash_open(struct tfl_port *port)
{
    static const struct tfl_flash driver = {flash_read, flash_program, flash_erase, PAGE_BYTES, TFL_STORE_PAGES};

    port->flash = &driver;
}

#endif
