/* Files of the host and an exit status for images that run under an emulator. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

#define OPEN 1
#define CLOSE 2
#define WRITE 5
#define READ 6
#define EXIT_EXTENDED 0x20
#define APPLICATION_EXIT 0x20026u

static int32_t call(uint32_t operation, const void *arguments)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = arguments;

    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

static void leave(uint32_t code)
{
    const uint32_t arguments[2] = {APPLICATION_EXIT, code};

    for (;;) {
        (void)call(EXIT_EXTENDED, arguments);
    }
}

/* The image ends with the line as its status. */
#define NEED(condition)                \
    do {                               \
        if (!(condition)) {            \
            leave((uint32_t)__LINE__); \
        }                              \
    } while (0)

static uint32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t arguments[3] = {(uint32_t)(uintptr_t)name, mode, length};
    int32_t file = call(OPEN, arguments);

    NEED(file > 0);
    return (uint32_t)file;
}

/* Bytes that were not transferred. */
static uint32_t transfer(uint32_t operation, uint32_t file, const void *data, uint32_t size)
{
    const uint32_t arguments[3] = {file, (uint32_t)(uintptr_t)data, size};

    return size > 0u ? (uint32_t)call(operation, arguments) : 0u;
}

#endif
