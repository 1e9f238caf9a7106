#include "flash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLASH_BYTES (FLASH_PAGE_BYTES * FLASH_PAGES)

static struct {
    uint8_t *memory; /* the file */
    long cut;        /* operations until the power is cut; 0: never */
} flash;

static void rule(int holds, const char *text)
{
    if (!holds) {
        (void)fprintf(stderr, "flash: %s\n", text);
        abort();
    }
}

static void check_range(uint32_t offset, uint32_t size)
{
    rule(offset <= FLASH_BYTES && size <= FLASH_BYTES - offset, "outside of the region");
}

static int cut_now(void)
{
    return flash.cut > 0 && --flash.cut == 0;
}

/* Half of the words, and of the next one half the bits. */
static void program_half(uint32_t offset, const uint8_t *data, uint32_t size)
{
    for (uint32_t i = 0; i < size / 8u * 4u + 2u; i++) {
        flash.memory[offset + i] &= data[i];
    }
    _exit(FLASH_CUT_STATUS);
}

static int flash_read(void *context, uint32_t offset, uint8_t *data, uint32_t size)
{
    (void)context;
    check_range(offset, size);
    memcpy(data, flash.memory + offset, size);
    return 0;
}

static int flash_program(void *context, uint32_t offset, const uint8_t *data, uint32_t size)
{
    (void)context;
    check_range(offset, size);
    rule(size > 0u && offset % 4u == 0u && size % 4u == 0u, "programming takes whole, aligned words");
    for (uint32_t i = 0; i < size; i++) {
        rule((data[i] & ~flash.memory[offset + i]) == 0, "programming only clears bits");
    }
    if (cut_now()) {
        program_half(offset, data, size);
    }
    memcpy(flash.memory + offset, data, size);
    return 0;
}

static int flash_erase(void *context, uint32_t page)
{
    (void)context;
    rule(page < FLASH_PAGES, "no such page");
    if (cut_now()) {
        memset(flash.memory + page * FLASH_PAGE_BYTES, 0xFF, FLASH_PAGE_BYTES / 2u);
        _exit(FLASH_CUT_STATUS);
    }
    memset(flash.memory + page * FLASH_PAGE_BYTES, 0xFF, FLASH_PAGE_BYTES);
    return 0;
}

static int fill(int file)
{
    static uint8_t page[FLASH_PAGE_BYTES];

    memset(page, 0xFF, sizeof page);
    for (unsigned i = 0; i < FLASH_PAGES; i++) {
        if (write(file, page, sizeof page) != (ssize_t)sizeof page) {
            return -1;
        }
    }
    return 0;
}

/* A new file is filled; one of another size is not ours to change. */
static int prepare(int file)
{
    struct stat state;

    if (fstat(file, &state) != 0 || (state.st_size == 0 && fill(file) != 0)) {
        return -1;
    }
    errno = EINVAL;
    return state.st_size == 0 || state.st_size == (off_t)FLASH_BYTES ? 0 : -1;
}

int flash_open(struct tfl_port *port, const char *path, long cut)
{
    static const struct tfl_flash driver = {flash_read, flash_program, flash_erase, FLASH_PAGE_BYTES, FLASH_PAGES};
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *memory = MAP_FAILED;

    if (file >= 0 && prepare(file) == 0) {
        memory = mmap(NULL, FLASH_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    if (file >= 0) {
        int error = errno;

        (void)close(file);
        errno = error;
    }
    if (memory == MAP_FAILED) {
        return -1;
    }
    flash.memory = memory;
    flash.cut = cut;
    port->flash = &driver;
    return 0;
}
